"""The shared dictionary: frames refer to it, for a client that has the same one (RFC 9842)."""

import pytest
import zstandard

from realtime.core.events import Cursor, Event
from realtime.errors import NotAcceptable
from realtime.protocol.dictionary import DICTIONARY, OFFER
from realtime.protocol.encodings import find_encoding
from realtime.transports import fetch_streaming, iframe_streaming, sse
from tests.cases import each

EVENT = Event(
    Cursor("0c7fe3a91b", 7),
    b'{"kind":"say","cursor":"0c7fe3a91b-7","id":"a18c2c9b-5f0e-4c0b-8a3d-9b7de1f2c6aa",'
    b'"client":"key-9f2c41d0aa4e2a76b9719d911017c0de","name":"Grace","text":"Is it on Monday?",'
    b'"via":"long_polling","sent":1795911111111.5,"published":1795911111199}',
)


def test_with_our_dictionary_a_frame_of_each_transport_has_less_than_two_thirds_of_its_bytes() -> (
    None
):
    dcz = find_encoding("dcz", "gzip, zstd, dcz", OFFER)
    dictionary = zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    decoder = zstandard.ZstdDecompressor(dict_data=dictionary)
    read = decoder.decompressobj(read_across_frames=True)
    assert read.decompress(dcz.opening) == b""  # a skippable frame
    for transport in (fetch_streaming, iframe_streaming, sse):
        frame = transport.frame(EVENT)
        assert len(dcz.compress(frame)) < 2 / 3 * len(find_encoding("zstd", None).compress(frame))
        assert read.decompress(dcz.compress(frame)) == frame


@each(
    ("accepted", "dictionary", "name"),
    [
        ("gzip, zstd, dcz", OFFER, "dcz"),
        ("gzip, zstd, dcz", OFFER.replace(":", ""), "zstd"),
        ("gzip, zstd, dcz", ":47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "zstd"),
        ("gzip, zstd, dcz", None, "zstd"),
        ("gzip, zstd", OFFER, "zstd"),
        (None, OFFER, "zstd"),
    ],
)
def test_a_client_without_our_dictionary_gets_zstd(
    accepted: str | None, dictionary: str | None, name: str
) -> None:
    found = find_encoding("dcz", accepted, dictionary)
    assert found.fields == (
        f"Content-Encoding: {name}".encode(),
        b"Vary: Accept-Encoding, Available-Dictionary",
    )


def test_a_client_that_accepts_neither_is_refused() -> None:
    with pytest.raises(NotAcceptable):
        find_encoding("dcz", "gzip", OFFER)
