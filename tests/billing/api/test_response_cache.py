"""Responses that are cached while nothing changes (`billing.api.response_cache`)."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.api.response_cache import MAX_BODY_BYTES, MAX_BYTES, cache_key, response_cache
from billing.ledger.corrections import void
from billing.models import UsageEvent
from billing.reports.response_cache_redis import CachedResponse
from billing.rollups.fold import fold
from organizations.models import APICredential, Organization
from organizations.types import Scope
from tests.conftest import Key, make_key
from tests.usage import NOW, Send, set_price

CALL = {"id": "a", "model": "m", "service": "openai", "run_id": "r", "cost_usd": "1"}
PATHS = (
    "/costs/runs",
    "/costs/runs/r",
    "/costs/runs/r/entries",
    "/costs/sessions",
    "/costs/executions",
    "/costs/summary",
    "/spend/tags",
    "/spend/users",
    "/usage/events",
)


def ask(api: APIClient, path: str = "/costs/runs", **headers: str) -> tuple[Any, str]:
    response = api.get(path, headers=headers)
    assert response.status_code == 200, response.content
    return response.json(), response.headers["X-Cache-Hit"]


@pytest.mark.parametrize("path", PATHS)
def test_the_same_query_has_the_same_answer(api: APIClient, send: Send, path: str) -> None:
    send(CALL)
    fold(now=NOW)
    first, second = ask(api, path), ask(api, path)
    assert (first[1], second[1]) == ("0", "1")
    assert first[0] == second[0]


def test_a_cached_answer_is_marked_with_the_time_at_which_it_was_still_right(api: APIClient, send: Send) -> None:
    send(CALL)
    times = [api.get("/costs/runs").headers["X-Costtrack-As-Of"] for _ in range(2)]
    assert times[0] < times[1]


def test_acknowledged_usage_is_in_the_next_response(api: APIClient, organization: Organization, send: Send) -> None:
    for number in range(1, 4):
        send({**CALL, "id": str(number)})
        assert ask(api) == ({**_totals(number)}, "0")
        assert ask(api)[1] == "1"
    fold(now=NOW)
    assert ask(api) == ({**_totals(3)}, "0")
    event = UsageEvent.objects.of(organization).order_by("id")[0]
    void(organization=organization, event_id=event.pk, reason="a test", actor="tests", now=NOW)
    assert ask(api) == ({**_totals(2)}, "0")


def _totals(dollars: int) -> dict[str, Any]:
    cost = float(dollars)
    return {"total_cost": cost, "costs_by_service": {"openai": cost}, "costs_by_group": {"openai": {"m": cost}}}


def test_a_price_changes_what_sessions_say_of_their_tools(
    api: APIClient, organization: Organization, send: Send
) -> None:
    send({**CALL, "session_id": "s", "tool": "Read", "tool_use_tokens": 30, "tool_result_tokens": 5000})
    fold(now=NOW)
    assert ask(api, "/costs/sessions/s")[0]["cost_by_tool_tokens"] == {}
    set_price("m", provider="openai", organization=organization, input="3", output="15")
    assert ask(api, "/costs/sessions/s")[0]["cost_by_tool_tokens"] == {"Read": "0.01545"}


def test_another_query_another_organization_and_bypassing_get_their_own(
    api: APIClient, other_key: Key, send: Send, other_organization: Organization
) -> None:
    send(CALL)
    send({**CALL, "cost_usd": "7"}, to=other_organization)
    fold(now=NOW)
    assert ask(api) == (_totals(1), "0")
    assert ask(other_key.client()) == (_totals(7), "0")
    assert ask(api, "/costs/runs?workflow_id=w")[1] == "0"
    assert ask(api, **{"X-Bypass-Cache": "1"}) == (_totals(1), "0")
    assert ask(api) == (_totals(1), "1")


def test_who_may_not_ask_gets_no_cached_answer_either(api: APIClient, organization: Organization, send: Send) -> None:
    send(CALL)
    assert [ask(api)[1] for _ in range(2)] == ["0", "1"]
    without_scope = make_key(organization, Scope.USAGE_WRITE)
    assert without_scope.client().get("/costs/runs").status_code == 403
    assert APIClient().get("/costs/runs").status_code == 401
    APICredential.objects.update(revoked_at=NOW)
    assert api.get("/costs/runs").status_code == 401


def test_wrong_queries_are_wrong_each_time(api: APIClient) -> None:
    for _ in range(2):
        assert api.get("/costs/runs?start_date=never").status_code == 422
        assert api.get("/costs/runs/nobody").status_code == 404


def test_a_large_response_is_not_cached() -> None:
    for size, is_cached in ((MAX_BODY_BYTES, True), (MAX_BODY_BYTES + 1, False)):
        response_cache.put((1, b"large"), str(size), CachedResponse(str(size), b"x" * size, {}))
        assert (response_cache.get((1, b"large"), str(size)) is not None) is is_cached


def test_long_queries_and_many_small_responses_are_bounded_too(organization: Organization) -> None:
    query = "/usage/events?run_id=" + "+" * 60_000
    assert cache_key(organization, query) != cache_key(organization, f"{query}+")
    assert len(cache_key(organization, query)[1]) == 32
    for number in range(MAX_BYTES // 1024):
        response_cache.put((1, b"%d" % number), "", CachedResponse("", b"{}", {}))
    assert response_cache.get((1, b"0"), "") is None
