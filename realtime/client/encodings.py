"""Compressed bodies and messages, the client's half: pieces in, the same pieces inflated out."""

import zlib
from collections.abc import Callable

# Inflates the next bytes of a body, split anywhere; raises zlib.error.
Inflate = Callable[[bytes], bytes]

_GZIP_WINDOW_BITS, _RAW_WINDOW_BITS = 31, -15
# RFC 7692 §7.2.2: the sender leaves this out at the end of a message.
_FLUSH_END = b"\0\0\xff\xff"


def body_inflater(coding: str | None) -> Inflate | None:
    """Return what inflates one body with this `Content-Encoding`; None if it is not compressed."""
    if coding == "gzip":
        return zlib.decompressobj(_GZIP_WINDOW_BITS).decompress
    if coding == "zstd":
        import zstandard

        decompressor = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)

        def inflate(data: bytes) -> bytes:
            try:
                return decompressor.decompress(data)
            except zstandard.ZstdError as error:
                raise zlib.error(f"zstd: {error}") from error

        return inflate
    if coding is not None:
        raise ValueError(f"not a coding that we know: {coding!r}")
    return None


def context_inflater() -> Inflate:
    """Return what inflates the messages of a server that keeps its history (RFC 7692 §7.1.1)."""
    inflate = zlib.decompressobj(_RAW_WINDOW_BITS).decompress
    return lambda payload: inflate(payload + _FLUSH_END)


def inflate_message(payload: bytes) -> bytes:
    """Inflate one WebSocket message, which refers to no other one (RFC 7692 §7.2.2)."""
    return zlib.decompressobj(_RAW_WINDOW_BITS).decompress(payload + _FLUSH_END)


def deflate_message(text: bytes) -> bytes:
    """Compress one WebSocket message alone (RFC 7692 §7.2.1)."""
    compressor = zlib.compressobj(wbits=_RAW_WINDOW_BITS)
    compressed = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return compressed.removesuffix(_FLUSH_END)
