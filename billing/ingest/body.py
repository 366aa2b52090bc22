"""Decompression of request bodies. Its output, its memory and its time are bounded by the size of the request."""

import zlib

import zstandard

from costtrack.errors import DomainError, TooLargeError

MAX_GZIP_MEMBERS = 10_000
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
# What follows a member is copied once for each member, so it must be short.
_PIECE = 1 << 16
_MIN_ZSTD_WINDOW = 8 << 20  # RFC 8878 recommends that every decoder supports it


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
    members, offset = 0, 0
    try:
        while offset < len(body) and remaining > 0:
            members += 1
            if members > MAX_GZIP_MEMBERS:
                message = f"The gzip body has more than {MAX_GZIP_MEMBERS:,} members."
                raise UnreadableBodyError(message, param="Content-Encoding")
            stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            while not stream.eof and remaining > 0:
                piece = body[offset : offset + _PIECE]
                if not piece:
                    raise UnreadableBodyError("The compressed body is cut off.", param="Content-Encoding")
                chunk = stream.decompress(piece, remaining)
                offset += len(piece) - len(stream.unused_data)
                remaining -= len(chunk)
                chunks.append(chunk)
    except zlib.error as error:
        raise UnreadableBodyError("The body is not valid gzip.", param="Content-Encoding") from error
    return b"".join(chunks)


def _zstd(body: bytes, max_bytes: int) -> bytes:
    """Decompress zstd frames chunk by chunk, so that a decompression bomb stops at the limit."""
    chunks: list[bytes] = []
    size = 0
    # A frame names the window that it needs, which is allocated before its content is read.
    decompressor = zstandard.ZstdDecompressor(max_window_size=max(max_bytes, _MIN_ZSTD_WINDOW))
    try:
        with decompressor.stream_reader(body, read_across_frames=True) as reader:
            while size <= max_bytes and (chunk := reader.read(1 << 20)):
                chunks.append(chunk)
                size += len(chunk)
    except zstandard.ZstdError as error:
        raise UnreadableBodyError("The body is not valid zstd.", param="Content-Encoding") from error
    return b"".join(chunks)
