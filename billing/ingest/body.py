"""A request's body as plain bytes, never larger than allowed, however small it came (compressed)."""

import zlib

import zstandard

from costtrack.errors import DomainError, TooLargeError

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class UnreadableBodyError(DomainError):
    """The body is not what its Content-Encoding says."""

    status = 400
    code = "unreadable_body"


class UnsupportedEncodingError(DomainError):
    status = 415
    code = "unsupported_encoding"


def decompress(body: bytes, *, encoding: str, max_bytes: int) -> bytes:
    """The body after its Content-Encoding: none, gzip, deflate or zstd. Stops at `max_bytes`."""
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
    """Several members may follow one another in gzip; all are read."""
    parts: list[bytes] = []
    room = max_bytes + 1
    try:
        while body and room > 0:
            stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            part = stream.decompress(body, room)
            room -= len(part)
            parts.append(part)
            if room > 0 and not stream.eof:
                raise UnreadableBodyError("The compressed body is cut off.", param="Content-Encoding")
            body = stream.unused_data
    except zlib.error as error:
        raise UnreadableBodyError("The body is not valid gzip.", param="Content-Encoding") from error
    return b"".join(parts)


def _zstd(body: bytes, max_bytes: int) -> bytes:
    """Frames are read one after the other, chunk by chunk, so that a small bomb stays small."""
    parts: list[bytes] = []
    size = 0
    try:
        with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
            while size <= max_bytes and (part := reader.read(1 << 20)):
                parts.append(part)
                size += len(part)
    except zstandard.ZstdError as error:
        raise UnreadableBodyError("The body is not valid zstd.", param="Content-Encoding") from error
    return b"".join(parts)
