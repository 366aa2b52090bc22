"""Which values of a limit that each has for itself may be near: none that is is missing, folded or not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.ledger.corrections import void
from billing.limits.per_value import ValuesNearThreshold, list_values_near_threshold, values_near_threshold
from billing.models import SpendLimit, UsageEvent
from billing.rollups.fold import fold
from billing.rollups.retention import drop_events
from billing.types import LimitScope, LimitUnit, LimitWindow
from organizations.models import Organization
from tests.billing.limits.factories import make_limit
from tests.conftest import Key
from tests.limits import set_limit
from tests.usage import NOW, Send

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Near = Callable[..., list[str]]


@pytest.fixture(params=["folded", "not folded"])
def near(request: pytest.FixtureRequest, organization: Organization) -> Near:
    """The values that may have spent 8 USD or more."""

    def _near(limit: SpendLimit, at_least_usd: str = "8", now: datetime = NOW, max_values: int = 10) -> list[str]:
        if request.param == "folded":
            fold(now=now)
        return values_near_threshold(
            organization=organization, limit=limit, at_least_usd=Decimal(at_least_usd), now=now, max_values=max_values
        )

    return _near


def call(user: str, usd: str, age: timedelta = HOUR, **others: Any) -> dict[str, Any]:
    return {"user_id": user, "cost_usd": usd, "occurred_at": (NOW - age).isoformat(), **others}


@pytest.mark.parametrize("window", LimitWindow)
def test_those_who_spent_most_come_first(
    organization: Organization, send: Send, near: Near, window: LimitWindow
) -> None:
    limit = set_limit(organization, "10", LimitScope.USER, window=window)
    send(call("ada", "5"), call("brin", "9"), call("cleo", "7.99"), call("", "50"))
    send(call("ada", "5"), call("dora", "8"), call("eve", "8"))
    assert near(limit) == ["ada", "brin", "dora", "eve"]
    assert near(limit, max_values=2) == ["ada", "brin"]
    assert near(limit, at_least_usd="9.5") == ["ada"]
    assert near(limit, at_least_usd="10.5") == []


def test_what_is_out_of_the_window_does_not_count(organization: Organization, send: Send, near: Near) -> None:
    month = set_limit(organization, "10", LimitScope.USER, window=LimitWindow.CALENDAR_MONTH)
    week = set_limit(organization, "10", LimitScope.USER, window=LimitWindow.ROLLING_7D)
    ever = set_limit(organization, "10", LimitScope.USER)
    send(call("ada", "9", 2 * DAY), call("brin", "9", 8 * DAY), call("cleo", "9", HOUR), call("brin", "1"))
    assert near(month) == ["cleo"]
    assert near(week) == ["ada", "cleo"]
    assert near(ever) == ["brin", "ada", "cleo"]


def test_of_the_hour_in_which_a_window_begins_all_that_is_folded_counts(organization: Organization, send: Send) -> None:
    """Enough to look closely; so nobody is missing."""
    limit = set_limit(organization, "10", LimitScope.USER, window=LimitWindow.ROLLING_7D)
    now = NOW + timedelta(minutes=30)
    send(call("ada", "9", 7 * DAY - timedelta(minutes=10)), call("brin", "9", 7 * DAY - timedelta(minutes=45)))
    fold(now=NOW)
    values = values_near_threshold(
        organization=organization, limit=limit, at_least_usd=Decimal(8), now=now, max_values=10
    )
    assert values == ["ada", "brin"]


def test_what_was_taken_back_does_not_count(organization: Organization, send: Send, near: Near) -> None:
    limit = set_limit(organization, "10", LimitScope.USER, window=LimitWindow.CALENDAR_MONTH)
    send(call("ada", "9"), call("brin", "9", id="mistake"))
    fold(now=NOW)
    event = UsageEvent.objects.of(organization).get(event_id="mistake")
    void(organization=organization, event_id=event.pk, reason="a test", actor="tests", now=NOW)
    assert near(limit) == ["ada"]


def test_amounts_are_in_the_unit_of_the_limit(organization: Organization, send: Send, near: Near) -> None:
    scope, window = LimitScope.USER, LimitWindow.CALENDAR_MONTH
    tokens = make_limit(organization, scope=scope, window=window, unit=LimitUnit.TOKENS, amount_usd=Decimal(1000))
    requests = make_limit(organization, scope=scope, window=window, unit=LimitUnit.REQUESTS, amount_usd=Decimal(2))
    send(call("ada", "0.01", input_tokens=1200), call("brin", "5000", input_tokens=10), call("brin", "0"))
    assert near(tokens, at_least_usd="1000") == ["ada"]
    assert near(requests, at_least_usd="2") == ["brin"]


def test_what_has_no_price_costs_what_the_limit_says(organization: Organization, send: Send, near: Near) -> None:
    priced = set_limit(organization, "10", LimitScope.USER, window=LimitWindow.ROLLING_7D, fallback_price=Decimal(2))
    unpriced = set_limit(organization, "10", LimitScope.USER, window=LimitWindow.ROLLING_7D)
    call_without_price = {"model": "house", "input_tokens": 3_000_000, "output_tokens": 1_000_000}
    send({"user_id": "ada", **call_without_price}, {"user_id": "brin", "model": "house", "input_tokens": 3_000_000})
    assert near(priced) == ["ada"]
    assert near(unpriced) == []
    send(call("brin", "2"))
    assert near(priced) == ["ada", "brin"]


@pytest.mark.parametrize(
    ("scope", "field"),
    [("model", "model"), ("workflow", "workflow_id"), ("run", "run_id"), ("session", "session_id")],
)
def test_every_scope_has_values(organization: Organization, send: Send, near: Near, scope: str, field: str) -> None:
    limit = set_limit(organization, "10", LimitScope(scope))
    send({"cost_usd": "9", field: "one", "run_id": "one"}, {"cost_usd": "7", field: "other"})
    assert near(limit) == ["one"]


def test_an_event_counts_under_each_of_its_tags_and_credentials_by_their_number(
    organization: Organization, key: Key, near: Near
) -> None:
    tags, credentials = (
        set_limit(organization, "10", LimitScope.TAG),
        set_limit(organization, "10", LimitScope.CREDENTIAL),
    )
    key.client().post("/usage/events", [{"cost_usd": "9", "tags": ["a", "b"]}], format="json")
    assert near(tags) == ["a", "b"]
    assert near(credentials) == [str(key.credential.pk)]


def test_what_was_dropped_from_the_ledger_counts_over_a_lifetime(organization: Organization, send: Send) -> None:
    limit = set_limit(organization, "10", LimitScope.USER)
    send(call("ada", "9", 100 * DAY), now=NOW - 100 * DAY)
    fold(now=NOW - 100 * DAY)
    august = datetime(2026, 9, 1, tzinfo=UTC)  # its end
    drop_events(organization=organization, before=august, actor="tests", now=NOW, report=lambda _: None)
    assert not UsageEvent.objects.of(organization).exists()
    values = values_near_threshold(
        organization=organization, limit=limit, at_least_usd=Decimal(8), now=NOW, max_values=10
    )
    assert values == ["ada"]


def test_another_organization_has_values_of_its_own(
    organization: Organization, other_organization: Organization, send: Send, near: Near
) -> None:
    limit = set_limit(organization, "10", LimitScope.USER)
    send(call("ada", "9"), to=other_organization)
    assert near(limit) == []


def test_many_limits_are_one_query(organization: Organization, send: Send) -> None:
    users = set_limit(organization, "10", LimitScope.USER, window=LimitWindow.ROLLING_7D)
    runs = set_limit(organization, "1", LimitScope.RUN, fallback_price=Decimal(1))
    send(*(call(f"user-{number}", "9", run_id="run") for number in range(5)), call("frugal", "1"))
    requests = [(users, Decimal(8)), (runs, Decimal(40)), (runs, Decimal(50))]
    with CaptureQueriesContext(connection) as captured:
        values = list_values_near_threshold(organization=organization, limit_minimums=requests, now=NOW, max_values=2)
    assert values == [
        ValuesNearThreshold(("user-0", "user-1"), near=5, used=6),
        ValuesNearThreshold(("run",), near=1, used=1),
        ValuesNearThreshold((), near=0, used=1),
    ]
    assert len(captured) == 1
    assert list_values_near_threshold(organization=organization, limit_minimums=[], now=NOW, max_values=2) == []
