"""Request bodies are collected within the memory of the process."""

import asyncio
from typing import Any

import pytest

from costtrack.env import Environment
from costtrack.web_server.bodies import BodyCollector, ByteBudget, NoMemoryError
from costtrack.web_server.web_limits import MEGABYTE, WebLimits

LIMITS = WebLimits.read(Environment())
BODY = bytes(MEGABYTE)


async def _limit() -> int:
    return MEGABYTE


def collect(budget: ByteBudget, *, is_known: bool) -> object:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    return asyncio.run(BodyCollector(receive, LIMITS, budget, is_known=is_known).collect(len(BODY), _limit))


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
