"""Request bodies are collected within the memory of the process."""

import asyncio
from typing import Any

import pytest

from costtrack.env import Environment
from costtrack.web_server.bodies import BodyCollector, ByteBudget, NoMemoryError, RefusedBody
from costtrack.web_server.web_limits import BODY_BYTES, MEGABYTE, WebLimits

LIMITS = WebLimits.read(Environment())
BODY = bytes(MEGABYTE)


LARGEST = BODY_BYTES + 1000


async def _limit() -> int:
    return LARGEST


def collect(budget: ByteBudget, *, is_known: bool = True, body: bytes = BODY, has_length: bool = True) -> object:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    collector = BodyCollector(receive, LIMITS, budget, is_known=is_known)
    return asyncio.run(collector.collect(len(body) if has_length else None, _limit))


def test_a_body_of_exactly_the_limit_is_accepted() -> None:
    largest = bytes(LARGEST)
    for has_length in (True, False):
        assert collect(ByteBudget(2 * LARGEST), body=largest, has_length=has_length) == largest
        refused = collect(ByteBudget(2 * LARGEST), body=largest + b"x", has_length=has_length)
        assert isinstance(refused, RefusedBody)


def test_unverified_callers_cannot_take_the_memory_of_verified_ones() -> None:
    budget = ByteBudget(LIMITS.body_memory)
    for _ in range(LIMITS.body_memory // MEGABYTE // 2):
        assert collect(budget, is_known=False) == BODY
    with pytest.raises(NoMemoryError):
        collect(budget, is_known=False)
    assert collect(budget, is_known=True) == BODY


def test_all_bodies_together_are_bounded() -> None:
    budget = ByteBudget(2 * MEGABYTE)
    collect(budget, is_known=True)
    collect(budget, is_known=True)
    with pytest.raises(NoMemoryError):
        collect(budget, is_known=True)
