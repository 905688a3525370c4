"""Compression that all readers share: one compressed piece is valid in the stream of each of them.

A compressor that remembers what it sent makes the next piece smaller.  But it is then the
compressor of one client: 65 KB or more for each, and its work again for each delivery.  Here each
piece is compressed alone, once, however many readers receive it and whenever they came:

    gzip     10 bytes for each client, then the pieces as blocks of deflate (RFC 1952, RFC 1951)
    zstd     each piece is a frame; a decoder joins all frames (RFC 8878 §3.1)
    dcz      the same, and each frame refers to a dictionary that the browser has (RFC 9842 §5)
    deflate  each WebSocket message is compressed alone (RFC 7692 §7.1.1, no context takeover)

A gzip stream that we end has no trailer, whose checksum would be another one for each client.
Pure: no I/O.  `zstandard` is an optional dependency, imported where it is needed.
"""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import ModuleType

from realtime.errors import BadEncoding, NotAcceptable
from realtime.protocol.dictionary import DICTIONARY, HASH, OFFER

# Pieces whose compressed form is kept: many who catch up, one after the other, read the same pages
# of the log.  A piece has some 60 KB at most, so these are 4 MB for each coding; usually far less.
_KEPT_PIECES = 64
# RFC 1952 §2.3.1: magic number, deflate, no flags, no time, an unknown system.
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_GZIP_WINDOW_BITS, _RAW_WINDOW_BITS = 31, -15
# A small table of hashes: zlib clears it for each piece, which would cost more than a short piece.
_MEMORY_LEVEL = 4
_LEVEL = 6
_ZSTD_LEVEL = 3
# RFC 9842 §5: a skippable frame (RFC 8878 §3.1.2), whose 32 bytes are the hash of the dictionary.
_DCZ_HEAD = b"\x5e\x2a\x4d\x18\x20\0\0\0"
_DCZ_VARY = b"Vary: Accept-Encoding, Available-Dictionary"
# What Z_SYNC_FLUSH appends: an empty block without compression (RFC 1951 §3.2.4).
SYNC_MARK = b"\0\0\xff\xff"
# RFC 9110 §12.4.2: "a value of 0 means not acceptable".
_NOT_ACCEPTED = re.compile(r"[ \t]*q[ \t]*=[ \t]*0(\.0*)?[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class ContentEncoding:
    """A content coding that `?encoding=` can ask for (RFC 9110 §8.4.1).

    A stream is `opening`, and then `compress` of each piece.  `encode` makes a whole body.
    """

    name: str
    opening: bytes
    compress: Callable[[bytes], bytes]
    encode: Callable[[bytes], bytes]
    # What the choice depends on: with another value, the client would get another coding, or none.
    vary: bytes = b"Vary: Accept-Encoding"

    @property
    def fields(self) -> tuple[bytes, ...]:
        """The header fields of a response with this coding."""
        return b"Content-Encoding: " + self.name.encode(), self.vary


@lru_cache(_KEPT_PIECES)
def deflate(piece: bytes) -> bytes:
    """Compress to blocks of deflate that need nothing before them, and end at a whole byte."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_WINDOW_BITS, _MEMORY_LEVEL)
    return compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL, _GZIP_WINDOW_BITS)


GZIP = ContentEncoding("gzip", _GZIP_HEAD, deflate, _gzip)


def _load_zstandard() -> ModuleType:
    try:
        import zstandard
    except ImportError:
        raise BadEncoding(
            "This server has no zstd: use gzip, or install 'realtime-transports[zstd]' there."
        ) from None
    return zstandard


@cache
def _zstd() -> ContentEncoding:
    compressor = _load_zstandard().ZstdCompressor(_ZSTD_LEVEL)
    compress = lru_cache(_KEPT_PIECES)(compressor.compress)
    return ContentEncoding("zstd", b"", compress, compressor.compress)


@cache
def _dcz() -> ContentEncoding:
    zstandard = _load_zstandard()
    dictionary = zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    dictionary.precompute_compress(level=_ZSTD_LEVEL)
    compressor = zstandard.ZstdCompressor(dict_data=dictionary, write_dict_id=False)
    compress = lru_cache(_KEPT_PIECES)(compressor.compress)
    head = _DCZ_HEAD + HASH
    return ContentEncoding(
        "dcz", head, compress, lambda b: head + compressor.compress(b), _DCZ_VARY
    )


@cache
def _zstd_instead_of_dcz() -> ContentEncoding:
    return replace(_zstd(), vary=_DCZ_VARY)


_ENCODINGS: dict[str, Callable[[], ContentEncoding]] = {"gzip": lambda: GZIP, "zstd": _zstd}


def find_encoding(
    name: str, accepted: str | None, dictionary: str | None = None
) -> ContentEncoding:
    """Return the coding `name` for a client that sent `accepted` in `Accept-Encoding`.

    `dictionary` is its `Available-Dictionary`: with `dcz` a client that has not ours gets zstd.
    Raises `BadEncoding` or `NotAcceptable`.
    """
    if name == "dcz":
        if dictionary == OFFER and accepts(accepted or "", "dcz"):
            return _dcz()
        find_encoding("zstd", accepted)
        return _zstd_instead_of_dcz()
    if name not in _ENCODINGS:
        raise BadEncoding("`encoding` must be gzip, zstd or dcz; without it nothing is compressed.")
    # RFC 9110 §12.5.3: without the field, any content coding is acceptable.
    if accepted is not None and not accepts(accepted, name):
        raise NotAcceptable(f"Your `Accept-Encoding` does not allow {name}; ask without it.")
    return _ENCODINGS[name]()


def accepts(field: str, name: str) -> bool:
    """Return whether a value of `Accept-Encoding` allows a coding (RFC 9110 §12.5.3)."""
    weights = {}
    for item in field.split(","):
        coding, _, weight = item.partition(";")
        weights[coding.strip(" \t").lower()] = weight
    weight = weights.get(name, weights.get("*", "q=0"))  # `*` is any that is not listed
    return not _NOT_ACCEPTED.fullmatch(weight)
