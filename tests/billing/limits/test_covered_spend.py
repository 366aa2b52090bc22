"""Authorizations use cached spend of unfolded events only while it is that of their unfolded batches."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from billing.limits import covered_spend
from billing.limits.balances import read_balances, rule_parameters, window_starts
from billing.limits.cache import limit_set
from billing.limits.covered_spend import cover_unfolded_spend, covered_parameters
from billing.limits.refusal import SpendLimitExceededError
from billing.limits.types import Balance, Dimensions, Rule
from billing.rollups.fold import fold
from billing.types import LimitScope, LimitUnit, LimitWindow
from costtrack.revision_cache import RevisionCache
from organizations.models import Organization
from tests.billing.limits.factories import make_limit
from tests.limits import set_limit, take
from tests.usage import NOW, Send

BEFORE, LATER = NOW - timedelta(seconds=10), NOW + timedelta(minutes=34)
CALL = Dimensions(user_ref="ada", model="m", tags=("x",), team="blue", run_id="r")
EVENT = {"user_id": "ada", "model": "m", "tags": ["x"], "team": "blue", "run_id": "r", "cost_usd": "0.25"}


@pytest.fixture(autouse=True)
def any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few events are enough, and any moment."""
    monkeypatch.setattr(covered_spend, "_MIN_EVENTS", 1)
    monkeypatch.setattr(covered_spend, "_loaded_lately", {})
    monkeypatch.setattr(covered_spend, "_cache", RevisionCache(1000))


def make_limits(organization: Organization) -> None:
    for scope, value in ((LimitScope.ORGANIZATION, ""), (LimitScope.USER, ""), (LimitScope.TAG, "x")):
        for window in (LimitWindow.LIFETIME, LimitWindow.ROLLING_7D, LimitWindow.CALENDAR_DAY):
            make_limit(organization, scope=scope, scope_value=value, window=window, amount_usd=Decimal(100))
    make_limit(organization, scope=LimitScope.TEAM, window=LimitWindow.ROLLING_24H)
    make_limit(organization, scope=LimitScope.RUN, unit=LimitUnit.TOKENS, amount_usd=Decimal(10**6))


def cover(organization: Organization, now: datetime = NOW) -> None:
    covered_spend._loaded_lately.clear()
    cover_unfolded_spend(organization, limit_set(organization), uncovered_events=1, now=now)


def balances(organization: Organization, *, is_covered: bool = True) -> list[tuple[Any, ...]]:
    """What `billing_balances` says of each rule, and the number of events that it added up."""
    limits = limit_set(organization)
    rules = limits.rules_for(CALL, now=LATER)
    starts = window_starts(organization, rules, LATER)
    covered = covered_parameters(organization.pk, rules, starts, revision=limits.revision)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT spent_usd, edge_usd, uncovered_events FROM billing_balances(%s, %s::text[], %s::text[], %s::text[],"
            " %s::text[], %s::timestamptz[], %s::numeric[], %s, %s, %s, %s::numeric[], %s::numeric[])",
            [
                organization.pk,
                *rule_parameters(rules, starts),
                LATER,
                *(covered if is_covered else [None] * 4),
            ],
        )
        return list(cursor.fetchall())


def assert_right(organization: Organization, *, events: int) -> None:
    """The balances are those of the exact reading, and this many events were added up."""
    limits = limit_set(organization)
    rules: list[Rule] = limits.rules_for(CALL, now=LATER)
    exact = read_balances(organization=organization, rules=rules, now=LATER)
    detailed = read_balances(organization=organization, rules=rules, now=LATER, revision=limits.revision)
    assert list(map(_totals, detailed)) == list(map(_totals, exact))
    for rule, balance, (spent, edge, added) in zip(rules, exact, balances(organization), strict=True):
        assert spent <= balance.spent_usd <= spent + edge, rule
        assert added == events
    assert {spent for spent, _, _ in balances(organization)} == {
        spent for spent, _, _ in balances(organization, is_covered=False)
    }


def _totals(balance: Balance) -> tuple[Any, ...]:
    return balance.spent_usd, balance.reserved_usd, balance.unpriced, balance.unpriced_since


def test_covered_events_are_not_added_up_again(organization: Organization, send: Send) -> None:
    make_limits(organization)
    send(EVENT | {"input_tokens": 40}, now=BEFORE)
    send({**EVENT, "user_id": "brin"}, EVENT, now=BEFORE)
    assert_right(organization, events=3)

    cover(organization)

    assert_right(organization, events=0)
    assert balances(organization)[0][0] == Decimal("0.75")


def test_later_events_are_added_to_them(organization: Organization, send: Send) -> None:
    make_limits(organization)
    send(EVENT, EVENT, now=BEFORE)
    cover(organization)

    send(EVENT, now=NOW)

    assert_right(organization, events=1)
    assert balances(organization)[0][0] == Decimal("0.75")


def test_an_earlier_batch_that_commits_later_counts(organization: Organization, send: Send) -> None:
    make_limits(organization)
    send(EVENT, now=BEFORE)
    cover(organization)

    send(EVENT, now=BEFORE - timedelta(seconds=1))

    assert_right(organization, events=2)
    assert balances(organization)[0][0] == Decimal("0.50")


def test_folded_events_do_not_count_twice(organization: Organization, send: Send) -> None:
    make_limits(organization)
    send(EVENT, now=BEFORE)
    cover(organization)

    fold(now=NOW)

    assert_right(organization, events=0)
    assert balances(organization)[0][0] == Decimal("0.25")


def test_a_window_that_begins_within_an_hour_has_its_covered_spend_as_its_edge(
    organization: Organization, send: Send
) -> None:
    make_limit(organization, window=LimitWindow.ROLLING_7D)
    begins = LATER - timedelta(days=7)
    for minutes in (-5, 5):
        send({**EVENT, "occurred_at": (begins + timedelta(minutes=minutes)).isoformat()}, now=BEFORE)
    cover(organization)

    assert balances(organization) == [(0, Decimal("0.50"), 0)]
    assert balances(organization, is_covered=False) == [(Decimal("0.25"), 0, 2)]


def test_covered_events_without_a_price_are_counted(organization: Organization, send: Send) -> None:
    make_limits(organization)
    send({key: value for key, value in EVENT.items() if key != "cost_usd"}, EVENT, now=BEFORE)
    cover(organization)
    assert_right(organization, events=0)


def test_a_limit_that_is_set_later_is_not_covered(organization: Organization, send: Send) -> None:
    make_limits(organization)
    send(EVENT, now=BEFORE)
    cover(organization)

    make_limit(organization, scope=LimitScope.TEAM, scope_value="blue", window=LimitWindow.LIFETIME)

    assert_right(organization, events=1)


def test_an_authorization_covers_what_it_has_added_up_and_grants_what_is_left(
    organization: Organization, send: Send
) -> None:
    set_limit(organization, "1")
    send(EVENT, EVENT, now=BEFORE)

    take(organization, "0.20", now=NOW)
    limits = limit_set(organization)
    rules = limits.rules_for(Dimensions(), now=NOW)
    assert covered_parameters(organization.pk, rules, [None], revision=limits.revision)[2] == [Decimal("0.50")]

    take(organization, "0.30", now=NOW)
    with pytest.raises(SpendLimitExceededError):
        take(organization, "0.01", now=NOW)


def test_few_events_are_not_covered(organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covered_spend, "_MIN_EVENTS", 3)
    set_limit(organization, "1")
    send(EVENT, EVENT, now=BEFORE)

    take(organization, "0.20", now=NOW)

    assert covered_parameters(organization.pk, [], [], revision=limit_set(organization).revision) == [None] * 4


@pytest.fixture
def loaded_after() -> Iterator[list[UUID]]:
    """The ids after which each loading began."""
    after: list[UUID] = []

    def record(execute: Any, statement: Any, parameters: Any, many: Any, context: Any) -> Any:
        if isinstance(parameters, dict) and "after" in parameters:
            after.append(parameters["after"])
        return execute(statement, parameters, many, context)

    with connection.execute_wrapper(record):
        yield after


def test_only_later_batches_are_added_to_those_that_are_covered(
    organization: Organization, send: Send, loaded_after: list[UUID]
) -> None:
    make_limits(organization)
    for seconds in (10, 8, 6):
        send(EVENT, {**EVENT, "run_id": f"r{seconds}"}, now=NOW - timedelta(seconds=seconds))
        cover(organization, now=NOW - timedelta(seconds=seconds - 1))
        assert_right(organization, events=0)
    first, second, third = loaded_after
    assert first == UUID(int=0) < second < third


def test_all_batches_are_added_up_when_covered_ones_were_folded(
    organization: Organization, send: Send, loaded_after: list[UUID]
) -> None:
    make_limits(organization)
    send(EVENT, now=BEFORE)
    cover(organization, now=NOW - timedelta(seconds=5))
    fold(now=NOW)
    send(EVENT, now=NOW - timedelta(seconds=4))
    cover(organization)
    assert_right(organization, events=0)
    assert loaded_after[0] == loaded_after[2] == UUID(int=0) < loaded_after[1]


def test_the_longer_it_takes_the_later_it_is_done_again(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_limits(organization)
    send(EVENT, now=BEFORE)
    times = iter([100.0, 103.0])
    monkeypatch.setattr(covered_spend, "monotonic", lambda: next(times))
    cover(organization)
    assert covered_spend._loaded_lately[organization.pk] == 12
