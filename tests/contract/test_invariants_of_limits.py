"""The invariants of spend limits, over HTTP: 7 spend at the limit pauses and spend just below it does not; 13 what is
exactly seven days old is out of a rolling window. Whatever was sent late, ahead of time, taken back or folded."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from billing.types import LimitScope, LimitWindow
from organizations.models import Organization
from tests.billing.limits.oracle import ROLLING
from tests.conftest import Key
from tests.contract.limit_history import USERS, LimitHistory, Limits, SetLimit, limit_histories
from tests.limits import set_limit
from tests.profiles import examples
from tests.usage import NOW, Send

MICROSECOND = timedelta(microseconds=1)
HUNDREDTH = Decimal("0.01")
FOREVER = datetime.max.replace(tzinfo=UTC)

few = examples(4, shrinks=False)


@pytest.fixture
def limits(organization: Organization, key: Key) -> Limits:
    return Limits(organization, key.client())


@pytest.mark.timeout(300)  # each history is some hundred requests
@few
@given(history=limit_histories, estimate=st.sampled_from(("0", "0.25", "1")))
def test_7_and_13_a_limit_pauses_when_it_is_reached_and_until_it_says(
    limits: Limits, history: LimitHistory, estimate: str
) -> None:
    now = history.start
    with limits.under(history):
        for wait, step in history.steps:
            now += timedelta(minutes=wait)
            limits.apply(step, now)
            resets = assert_limits_match(limits, now)
            assert_access_matches(limits, now, Decimal(estimate))
            # Both sides of the instants at which a limit says that it is over.
            for at in sorted({min(resets), max(resets)} if resets else ()):
                for edge in (at - MICROSECOND, at):
                    assert_limits_match(limits, edge)
                    assert_access_matches(limits, edge, Decimal(estimate))


def assert_limits_match(limits: Limits, now: datetime) -> set[datetime]:
    """`GET /usage/limits` and the books say the same. Answers when limits say that they are over."""
    listed = {row["id"]: row for row in get_json(limits, now, "/usage/limits")["limits"]}
    assert listed.keys() == {limit.id for limit in limits.in_force(now)}
    resets: set[datetime] = set()
    for limit in limits.in_force(now):
        row = listed[limit.id]
        if limit.scope is LimitScope.USER and not limit.value:
            rows = {row["scope_value"]: row for row in row["values"]}
            near = {user for user in USERS if limits.oracle(limit, user).spent(now) >= limit.amount * 8 / 10}
            assert rows.keys() == near
            assert [row["percent"] for row in row["values"]] == sorted(
                (row["percent"] for row in row["values"]), reverse=True
            )
        else:
            rows = {limit.value: row}
        for user, row in rows.items():
            assert_limit_matches(limits, limit, user, row, now)
            resets |= {instant(row["resets_at"])} - {None}
    return resets


def assert_limit_matches(limits: Limits, limit: SetLimit, user: str, row: dict[str, Any], now: datetime) -> None:
    oracle = limits.oracle(limit, user)
    spent = oracle.spent(now)
    assert Decimal(row["spent_usd"]) == spent
    assert Decimal(row["remaining_usd"]) == max(limit.amount - spent, 0)
    assert Decimal(str(row["percent"])) == (spent * 100 / limit.amount).quantize(HUNDREDTH, ROUND_DOWN)
    assert row["unpriced_events"] == limits.unpriced_count(limit, user, now)
    assert (row["state"] == "paused") == oracle.is_paused(now)
    assert (row["state"] in ("paused", "exceeded")) == oracle.is_reached(now)
    assert (row["state"] == "ok") == (spent < limit.amount * 8 / 10)
    assert instant(row["resets_at"]) == oracle.resets_at(now)
    start, end = oracle.span(now)
    if limit.window.value in ROLLING:
        start = now - ROLLING[limit.window.value] + MICROSECOND
    assert (instant(row["window_start"]), instant(row["window_end"])) == (start, end)
    assert instant(row["as_of"]) == now
    if row["hit_at"] is not None:
        assert instant(row["hit_at"]) > now
        assert not oracle.is_reached(now)


def assert_access_matches(limits: Limits, now: datetime, usd: Decimal) -> None:
    """`GET /usage/access`, for a user and for nobody."""
    for user in ("", "ada", "brin"):
        covering = [limits.oracle(limit, user) for limit in limits.in_force(now) if limit.covers(user)]
        answer = get_json(limits, now, f"/usage/access?user_id={user}&estimated_cost_usd={usd}")
        assert answer["allowed"] == all(oracle.lets_through(usd, now) for oracle in covering)
        if not answer["allowed"]:
            over = [oracle.fits_at(usd, now) for oracle in covering]
            latest = max(at or FOREVER for at in over)
            assert instant(answer["resets_at"]) == (latest if latest < FOREVER else None)


def get_json(limits: Limits, now: datetime, path: str) -> dict[str, Any]:
    with time_machine.travel(now, tick=False):
        response = limits.api.get(path)
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def instant(text: str | None) -> Any:
    return datetime.fromisoformat(text) if text is not None else None


# --- The edges by themselves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spent", "state"), [("9.999999999999", "warning"), ("10", "paused"), ("10.01", "paused"), ("7.9", "ok")]
)
def test_7_spend_at_the_limit_pauses_and_spend_just_below_does_not(
    organization: Organization, api: APIClient, send: Send, spent: str, state: str
) -> None:
    set_limit(organization, "10")
    send({"cost_usd": spent})
    (limit,) = api.get("/usage/limits").json()["limits"]
    assert (limit["state"], limit["spent_usd"]) == (state, spent)
    assert api.get("/usage/access").json()["allowed"] is (state != "paused")


def test_13_what_is_exactly_seven_days_old_is_out_of_the_window(
    organization: Organization, api: APIClient, send: Send
) -> None:
    set_limit(organization, "10", window=LimitWindow.ROLLING_7D)
    send({"cost_usd": "10", "occurred_at": NOW.isoformat()})
    week = timedelta(days=7)
    for now, spent in ((NOW + week - MICROSECOND, "10"), (NOW + week, "0")):
        with time_machine.travel(now, tick=False):
            (limit,) = api.get("/usage/limits").json()["limits"]
            assert limit["spent_usd"] == spent
            assert api.get("/usage/access").json()["allowed"] is (spent == "0")
    with time_machine.travel(NOW, tick=False):
        refused = api.get("/usage/access").json()
        assert refused["resets_at"] == "2026-11-09T12:00:00Z"
        assert refused["retry_after"] == week.total_seconds()
