"""Decompression of request bodies, with a limit on the decompressed size."""

import zlib

import zstandard

from costtrack.errors import DomainError, TooLargeError

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class UnreadableBodyError(DomainError):
    """The body does not match its Content-Encoding."""

    status = 400
    code = "unreadable_body"


class UnsupportedEncodingError(DomainError):
    status = 415
    code = "unsupported_encoding"


def decompress(body: bytes, *, encoding: str, max_bytes: int) -> bytes:
    """Decode a body with Content-Encoding none, gzip, deflate or zstd. Raises TooLargeError beyond `max_bytes`."""
    match encoding.strip().lower():
        case "" | "identity":
            plain = body
        case "gzip" | "x-gzip" | "deflate":
            plain = _inflate(body, max_bytes)
        case "zstd":
            plain = _zstd(body, max_bytes)
        case other:
            raise UnsupportedEncodingError(
                f"Content-Encoding {other[:40]} is not supported; use gzip or zstd.", param="Content-Encoding"
            )
    if len(plain) > max_bytes:
        raise TooLargeError(f"The body is larger than {max_bytes // 2**20} MB.")
    return plain


def _inflate(body: bytes, max_bytes: int) -> bytes:
    """Decompress gzip or zlib. A gzip body may have several members; all are read."""
    chunks: list[bytes] = []
    remaining = max_bytes + 1
    try:
        while body and remaining > 0:
            stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            chunk = stream.decompress(body, remaining)
            remaining -= len(chunk)
            chunks.append(chunk)
            if remaining > 0 and not stream.eof:
                raise UnreadableBodyError("The compressed body is cut off.", param="Content-Encoding")
            body = stream.unused_data
    except zlib.error as error:
        raise UnreadableBodyError("The body is not valid gzip.", param="Content-Encoding") from error
    return b"".join(chunks)


def _zstd(body: bytes, max_bytes: int) -> bytes:
    """Decompress zstd frames chunk by chunk, so that a decompression bomb stops at the limit."""
    chunks: list[bytes] = []
    size = 0
    try:
        with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
            while size <= max_bytes and (chunk := reader.read(1 << 20)):
                chunks.append(chunk)
                size += len(chunk)
    except zstandard.ZstdError as error:
        raise UnreadableBodyError("The body is not valid zstd.", param="Content-Encoding") from error
    return b"".join(chunks)
