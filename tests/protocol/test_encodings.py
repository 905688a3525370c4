"""Compressed pieces can be joined in any number and order, and `Accept-Encoding` is obeyed."""

import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import BadEncoding, NotAcceptable
from realtime.protocol.encodings import GZIP, accepts, deflate, find_encoding
from tests.cases import each

PIECES = st.lists(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), max_size=8)


@given(PIECES)
def test_pieces_of_gzip_are_one_stream_whoever_receives_which_of_them(pieces: list[bytes]) -> None:
    stream = GZIP.opening + b"".join(map(GZIP.compress, pieces))
    assert zlib.decompressobj(31).decompress(stream) == b"".join(pieces)


@given(PIECES)
def test_pieces_of_zstd_are_frames_that_a_decoder_joins(pieces: list[bytes]) -> None:
    zstd = find_encoding("zstd", None)
    stream = zstd.opening + b"".join(map(zstd.compress, pieces))
    decoder = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    assert decoder.decompress(stream) == b"".join(pieces)


@each("name", ["gzip", "zstd"])
def test_a_whole_body_is_complete(name: str) -> None:
    body = b'{"events":[]}' * 30
    inflate = {"gzip": lambda data: zlib.decompress(data, 31), "zstd": zstandard.decompress}[name]
    assert inflate(find_encoding(name, None).encode(body)) == body


def test_the_same_piece_is_compressed_once() -> None:
    piece = b"the same piece " * 10
    assert deflate(bytes(bytearray(piece))) is deflate(piece)


@each(
    ("field", "accepted"),
    [
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("GZIP", True),
        ("*", True),
        ("*;q=0, gzip", True),
        ("gzip ; q = 0.001", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("identity", False),
        ("x-gzip-not", False),
        ("*;q=0", False),
        ("", False),
        # No value takes longer than its length.
        ("a" * 60_000 + ";", False),
        (" " * 60_000 + ";" + " " * 60_000, False),
    ],
)
def test_accept_encoding_is_read_as_rfc_9110_says(field: str, accepted: bool) -> None:
    assert accepts(field, "gzip") == accepted


def test_without_accept_encoding_any_encoding_is_acceptable() -> None:
    assert find_encoding("gzip", None) is GZIP
    with pytest.raises(NotAcceptable):
        find_encoding("gzip", "")  # RFC 9110 §12.5.3: empty means that none is
    with pytest.raises(BadEncoding):
        find_encoding("GZIP", None)
