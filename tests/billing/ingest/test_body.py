"""Decompression of bodies that were made to be expensive."""

import gzip
import zlib

import pytest
import zstandard

from billing.ingest.body import MAX_GZIP_MEMBERS, UnreadableBodyError, decompress
from costtrack.errors import TooLargeError

MAX_BYTES = 1 << 20
EMPTY_MEMBER = gzip.compress(b"")


def test_several_members_are_one_body() -> None:
    members = [gzip.compress(bytes([number]) * 70_000) for number in range(10)]
    assert decompress(b"".join(members), encoding="gzip", max_bytes=MAX_BYTES) == b"".join(
        bytes([number]) * 70_000 for number in range(10)
    )
    incompressible = zlib.compress(bytes(range(256)) * 4000, level=0)
    assert decompress(incompressible, encoding="deflate", max_bytes=MAX_BYTES) == bytes(range(256)) * 4000


def test_more_members_than_a_real_body_has_are_refused() -> None:
    body = EMPTY_MEMBER * MAX_GZIP_MEMBERS
    assert decompress(body, encoding="gzip", max_bytes=MAX_BYTES) == b""
    with pytest.raises(UnreadableBodyError, match="more than 10,000 members"):
        decompress(body + EMPTY_MEMBER, encoding="gzip", max_bytes=MAX_BYTES)


@pytest.mark.parametrize("members", [1, 50])
def test_a_bomb_stops_at_the_limit(members: int) -> None:
    body = gzip.compress(b"\0" * (40 << 20) if members == 1 else b"\0" * (1 << 20)) * members
    with pytest.raises(TooLargeError):
        decompress(body, encoding="gzip", max_bytes=MAX_BYTES)


def test_a_body_that_is_cut_off_anywhere_is_refused() -> None:
    body = gzip.compress(b"events" * 20_000) * 2
    whole = len(body) // 2
    for end in (1, 5, whole - 1, whole + 1, len(body) - 1):
        with pytest.raises(UnreadableBodyError, match="cut off"):
            decompress(body[:end], encoding="gzip", max_bytes=MAX_BYTES)
    with pytest.raises(UnreadableBodyError, match="not valid gzip"):
        decompress(body + b"garbage", encoding="gzip", max_bytes=MAX_BYTES)


def test_a_zstd_frame_cannot_ask_for_more_memory_than_a_body_may_have() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = stream.compress(b"x") + stream.flush()
    with pytest.raises(UnreadableBodyError):
        decompress(body, encoding="zstd", max_bytes=MAX_BYTES)
    frames = zstandard.compress(b"one") + zstandard.compress(b"two") + zstandard.compress(b"") * 100_000
    assert decompress(frames, encoding="zstd", max_bytes=MAX_BYTES) == b"onetwo"
