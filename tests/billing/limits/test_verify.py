"""Limits rest on what the ledger and the authorizations say, and whatever does not is found."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from billing.ledger.corrections import adjust
from billing.ledger.price_unpriced import price_unpriced
from billing.limits import verify
from billing.limits.authorize import release
from billing.limits.verify import verify_limits
from billing.models import Authorization, EventKey, RollupCheck, UsageEvent
from billing.models.rollups import ScopeHour, ScopeTotal
from billing.rollups import verify as rollups
from billing.rollups.fold import fold
from billing.rollups.retention import drop_events
from billing.rollups.types import Difference, Step
from billing.types import LimitScope, LimitWindow
from organizations.models import Organization
from tests.limits import set_limit, take
from tests.usage import NOW, Send, set_price

CALL = {"model": "m", "user_id": "ada", "run_id": "r-1", "session_id": "s-1", "workflow_id": "w", "tags": ["a", "b"]}
DIMENSIONS: dict[str, Any] = {"model": "m", "user_ref": "ada", "run_id": "r-1", "session_id": "s-1", "tags": ("a", "b")}
HOUR = timedelta(hours=1)


def differences(organization: Organization) -> list[Difference]:
    checked = verify_limits(organization=organization, now=NOW)
    assert checked.count >= len(checked.differences)
    return list(checked.differences)


@pytest.fixture
def limits(organization: Organization) -> None:
    """One of each scope in each window."""
    for window in LimitWindow:
        for scope in LimitScope:
            set_limit(organization, "10", scope, window=window)
    set_limit(organization, "10", LimitScope.USER, "ada", LimitWindow.ROLLING_7D, fallback_price=Decimal("0.5"))


@pytest.fixture
def usage(organization: Organization, send: Send) -> None:
    """Usage in and around windows, folded and not, priced and not, corrected; and authorizations in every state."""
    ages = [timedelta(), HOUR, timedelta(days=1), timedelta(days=7) - HOUR / 2, timedelta(days=7), timedelta(days=40)]
    events = [{**CALL, "occurred_at": (NOW - age).isoformat(), "cost_usd": "0.125"} for age in ages]
    unpriced = {**CALL, "model": "new", "input_tokens": 1_000_000}
    send(*events, unpriced, {**CALL, "user_id": "brin", "cost_usd": "1"})
    fold(now=NOW)
    adjust(
        organization=organization,
        event_id=UsageEvent.objects.filter(user_ref="ada").order_by("id")[1].pk,
        cost_usd=Decimal(1),
        reason="r",
        actor="a",
        now=NOW,
    )
    settled = take(organization, "0.5", now=NOW - HOUR, **DIMENSIONS).authorization
    send(*events, {**CALL, "cost_usd": "0.25", "authorization_id": str(settled.pk)}, unpriced)
    take(organization, "0.75", now=NOW, **DIMENSIONS)
    take(organization, "0.75", now=NOW, user_ref="carl")
    gone = take(organization, "0.75", now=NOW, **DIMENSIONS).authorization
    release(organization=organization, authorization_id=gone.pk, now=NOW)


# --- Nothing is wrong ------------------------------------------------------------------------------------------


def test_without_limits_there_is_nothing_to_compare(organization: Organization) -> None:
    assert differences(organization) == []


@pytest.mark.usefixtures("limits", "usage")
def test_limits_equal_the_ledger_after_any_history(organization: Organization) -> None:
    assert differences(organization) == []
    fold(now=NOW)
    assert differences(organization) == []


@pytest.mark.usefixtures("limits", "usage")
def test_prices_that_come_later_and_dropped_events_change_nothing(organization: Organization) -> None:
    set_price("new", input="1")
    assert price_unpriced(organization=organization, now=NOW) == 2
    assert differences(organization) == []
    fold(now=NOW)
    drop_events(before=NOW.replace(day=1, hour=0), actor="a", now=NOW, report=lambda _: None)
    assert differences(organization) == []


@pytest.mark.usefixtures("limits", "usage")
def test_another_organizations_rows_are_not_looked_at(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    set_limit(other_organization, "10")
    send(CALL, to=other_organization)
    ScopeHour.objects.filter(organization=organization).delete()
    assert differences(other_organization) == []
    assert differences(organization)


# --- What is wrong is found ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("usage")
def test_spend_that_the_rollups_have_wrong_is_found(organization: Organization) -> None:
    whole = set_limit(organization, "10")
    weekly = set_limit(organization, "10", LimitScope.USER, window=LimitWindow.ROLLING_7D)
    right = {total.value: total.cost_usd for total in ScopeTotal.objects.filter(scope="organization")}
    ScopeTotal.objects.filter(scope="organization").update(cost_usd=right[""] + 1)
    ScopeHour.objects.filter(scope="user", value="ada", hour=NOW).update(cost_usd=0)

    differences_by_key = {difference.key["limit"]: difference for difference in differences(organization)}

    assert set(differences_by_key) == {str(whole.pk), str(weekly.pk)}
    lifetime = differences_by_key[str(whole.pk)]
    assert lifetime.stored is not None
    assert lifetime.expected is not None
    assert Decimal(lifetime.stored["spent_usd"] or 0) - Decimal(lifetime.expected["spent_usd"] or 0) == 1
    assert differences_by_key[str(weekly.pk)].key == {"limit": str(weekly.pk), "value": "ada"}


@pytest.mark.usefixtures("usage")
def test_an_hour_that_may_have_cost_more_than_it_says_is_found(organization: Organization) -> None:
    set_limit(organization, "10", window=LimitWindow.ROLLING_7D)
    fold(now=NOW)
    first_hour = NOW - timedelta(days=7)
    assert ScopeHour.objects.filter(hour=first_hour).update(charged_usd=0)
    (difference,) = differences(organization)
    assert set(difference.stored or {}) == {"edge_usd"}


def test_an_unmarked_authorization_is_found(organization: Organization) -> None:
    late = take(organization, "1", now=NOW - HOUR, ttl=timedelta(minutes=54)).authorization
    take(organization, "1", now=NOW - HOUR, ttl=timedelta(minutes=56))
    assert [str(difference) for difference in differences(organization)] == [
        f"authorization '{late.pk}': status is reserved instead of expired"
    ]


def test_a_settled_one_without_its_event_or_with_another_cost_is_found(organization: Organization, send: Send) -> None:
    lost, wrong = (take(organization, "1", now=NOW - HOUR).authorization for _ in range(2))
    Authorization.objects.filter(pk=lost.pk).update(status="settled", settled_usd=1, ended_at=NOW)
    send({"cost_usd": "0.5", "authorization_id": str(wrong.pk)}, {"cost_usd": "0", "authorization_id": str(uuid4())})
    Authorization.objects.filter(pk=wrong.pk).update(settled_usd=1)
    differences_by_key = {
        difference.key["authorization"]: (difference.expected or {})["settled_usd"]
        for difference in differences(organization)
    }
    assert differences_by_key == {str(lost.pk): "no event", str(wrong.pk): "0.500000000000000000000000"}


def test_one_that_its_event_has_not_settled_is_found(organization: Organization, send: Send) -> None:
    held = take(organization, "1", now=NOW).authorization
    send({"cost_usd": "0.5", "authorization_id": str(held.pk)})
    Authorization.objects.filter(pk=held.pk).update(status="reserved", settled_usd=None, ended_at=None)
    (difference,) = differences(organization)
    assert str(difference) == f"authorization '{held.pk}': status is reserved instead of settled"


def test_an_event_that_is_there_twice_is_found(organization: Organization, send: Send) -> None:
    held = take(organization, "1", now=NOW).authorization
    event = {"id": "e-1", "cost_usd": "0.5", "authorization_id": str(held.pk)}
    send(event)
    EventKey.objects.all().delete()
    send(event)
    (difference,) = differences(organization)
    assert str(difference) == f"authorization '{held.pk}': events e-1 is 2 instead of 1"


# --- What is kept ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("limits", "usage")
def test_the_result_is_stored_next_to_the_rollups_checks(organization: Organization) -> None:
    rollups.verify(organization_id=organization.pk, now=NOW)
    verify_limits(organization=organization, now=NOW)
    rollups.verify(organization_id=organization.pk, now=NOW)
    assert RollupCheck.objects.get(rollup="limits").differences == 0
    Authorization.objects.filter(status="settled").update(settled_usd=7)
    later = NOW + timedelta(minutes=1)
    verify_limits(organization=organization, now=later)
    check = RollupCheck.objects.get(rollup="limits")
    assert (check.differences, check.checked_at) == (1, later)
    assert "settled_usd is 7" in check.first_difference


@pytest.mark.usefixtures("usage")
def test_many_values_are_compared_part_by_part(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "MAX_VALUES", 2)
    set_limit(organization, "10", LimitScope.USER)
    set_limit(organization, "10", window=LimitWindow.CALENDAR_WEEK)
    steps: list[Step] = []
    verify_limits(organization=organization, now=NOW, progress=steps.append)
    assert [(step.rollup, step.number, step.steps) for step in steps] == [
        ("calendar_week", 1, 4),
        ("lifetime", 2, 4),
        ("lifetime", 3, 4),
        ("authorizations", 4, 4),
    ]
