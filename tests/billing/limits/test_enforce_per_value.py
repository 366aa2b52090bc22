"""Enforcement of limits that every value has for itself: only those are looked at that may have changed."""

import re
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.limits.enforce import MAX_NOTICES_PER_LIMIT
from billing.limits.services import change_limit, end_override, pause_limit, remove_limit
from billing.models import Notice, SpendLimit, ThresholdEvent
from billing.models.rollups import ScopeTotal
from billing.notifications.email_content import build_content
from billing.rollups.fold import fold
from billing.types import LimitScope, LimitWindow, NoticeKind
from organizations.models import Organization
from tests.billing.limits.enforcement import Enforce, Spend, enforced, open_threshold_events, spend
from tests.billing.limits.factories import SOON, SYSTEM, make_limit, raised
from tests.conftest import Key
from tests.usage import NOW, Send, set_price

__all__ = ["enforced", "spend"]  # fixtures from another module

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def limit(organization: Organization) -> SpendLimit:
    """10 USD for each session."""
    return make_limit(organization, scope=LimitScope.SESSION, window=LimitWindow.LIFETIME)


def names(subjects: list[str]) -> list[str]:
    return sorted(word for subject in subjects for word in subject.replace(",", "").split() if word.startswith("s-"))


def test_each_value_has_its_own_threshold_events(limit: SpendLimit, enforced: Enforce, spend: Spend) -> None:
    for number, usd in enumerate(("7.9", "8", "9.5", "10", "30")):
        spend(usd, session_id=f"s-{number}")
    assert names(enforced()) == ["s-1", "s-2", "s-3", "s-4"]
    assert open_threshold_events() == [
        *[("s-1", 80), ("s-2", 80), ("s-2", 95)],
        *[("s-3", 80), ("s-3", 95), ("s-3", 100), ("s-4", 80), ("s-4", 95), ("s-4", 100)],
    ]
    assert Notice.objects.filter(data__limit__scope_value="s-3").count() == 1
    fold(now=NOW)
    assert enforced() == []


def test_of_very_many_at_once_twenty_are_reported_and_the_others_counted(
    limit: SpendLimit, enforced: Enforce, send: Send
) -> None:
    send(*({"cost_usd": "9", "session_id": f"s-{number}"} for number in range(MAX_NOTICES_PER_LIMIT + 7)))

    subjects = enforced()

    assert len(names(subjects)) == MAX_NOTICES_PER_LIMIT
    assert subjects[-1] == "Acme Research: 7 more have passed thresholds of the limit of each session"
    assert ThresholdEvent.objects.values("value").distinct().count() == MAX_NOTICES_PER_LIMIT + 7
    last = Notice.objects.latest("pk")
    assert last.data["more_values"] == 7
    content = build_content(kind=NoticeKind(last.kind), organization="Acme", zone=ZoneInfo("UTC"), data=last.data)
    assert content.headline == "7 more have passed thresholds of the limit of each session"
    assert enforced() == []


def test_what_is_folded_and_what_is_not_add_up(limit: SpendLimit, enforced: Enforce, spend: Spend) -> None:
    spend("4", session_id="s-1")
    fold(now=NOW)
    assert enforced() == []
    spend("4", session_id="s-1", at=NOW + MINUTE)
    assert names(enforced(NOW + MINUTE)) == ["s-1"]


def test_only_what_has_received_something_is_looked_at_again(
    limit: SpendLimit, enforced: Enforce, spend: Spend
) -> None:
    for number in range(30):
        spend("9" if number % 3 else "1", session_id=f"s-{number}")
    fold(now=NOW)
    assert len(enforced(NOW + MINUTE)) == 20
    later = NOW + HOUR
    assert enforced(later - MINUTE) == []

    spend("2", session_id="s-0", at=later)
    spend("1", session_id="s-1", at=later)
    with CaptureQueriesContext(connection) as queries:
        assert names(enforced(later)) == ["s-1"]
    (metered,) = (query["sql"] for query in queries if "billing_balances" in query["sql"])
    # s-0 has cost 3 in all its life.
    assert set(re.findall(r"s-\d+", metered)) == {"s-1"}


def test_an_event_whose_transaction_took_its_time_is_not_missed(
    limit: SpendLimit, enforced: Enforce, spend: Spend
) -> None:
    enforced(NOW + MINUTE)
    spend("10", session_id="s-1", at=NOW)
    assert names(enforced(NOW + 2 * MINUTE)) == ["s-1"]


def test_a_limit_that_changes_is_compared_with_every_value(limit: SpendLimit, enforced: Enforce, spend: Spend) -> None:
    organization = limit.organization
    for number in range(4):
        spend("6", session_id=f"s-{number}")
    assert enforced() == []
    later = NOW + DAY
    assert enforced(later) == []
    change_limit(organization=organization, limit=limit, changes={"amount_usd": Decimal(6)}, actor=SYSTEM, now=later)
    assert len(enforced(later)) == 4
    change_limit(organization=organization, limit=limit, changes={"amount_usd": Decimal(60)}, actor=SYSTEM, now=later)
    subjects = enforced(later)
    assert len(subjects) == 4
    assert all("access is back, $6.00 of $60.00" in subject for subject in subjects)
    assert open_threshold_events() == []


def test_a_raise_of_one_value_and_its_end(limit: SpendLimit, enforced: Enforce, spend: Spend) -> None:
    spend("10", session_id="s-1")
    spend("10", session_id="s-2")
    assert len(enforced()) == 2
    raised(limit, 20, value="s-1")
    assert names(enforced()) == ["s-1"]
    assert enforced(SOON - MINUTE) == []
    (subjects,) = enforced(SOON)
    assert "the limit of session s-1 is reached" in subjects


def test_a_new_day_begins_for_every_value(organization: Organization, enforced: Enforce, spend: Spend) -> None:
    make_limit(organization, scope=LimitScope.USER)
    for user in ("s-ada", "s-brin"):
        spend("10", user_id=user)
    spend("11", user_id="s-cleo", at=NOW + DAY - 13 * HOUR)  # from a clock that is ahead
    fold(now=NOW)
    assert names(enforced()) == ["s-ada", "s-brin", "s-cleo"]
    subjects = enforced(NOW + 13 * HOUR)
    assert len(subjects) == 3
    assert all("access is back" in subject for subject in subjects)


def test_out_of_a_rolling_window_spend_leaves_though_nothing_is_received(
    organization: Organization, enforced: Enforce, spend: Spend
) -> None:
    make_limit(organization, scope=LimitScope.TAG, window=LimitWindow.ROLLING_7D)
    spend("10", tags=["s-1", "other"])
    fold(now=NOW)
    assert len(enforced()) == 2
    week = timedelta(days=7)
    assert enforced(NOW + week - MINUTE) == []
    assert len(enforced(NOW + week)) == 2
    assert open_threshold_events() == []


def test_a_credential_is_named_by_its_client_id(
    organization: Organization, enforced: Enforce, key: Key, limit: SpendLimit
) -> None:
    make_limit(organization, scope=LimitScope.CREDENTIAL, window=LimitWindow.LIFETIME)
    sent = key.client().post("/usage/events", [{"id": "1", "model": "small", "cost_usd": "10"}], format="json")
    assert sent.status_code == 200
    (subjects,) = enforced()
    assert f"the limit of credential {key.credential.client_id} is reached" in subjects
    assert open_threshold_events()[0][0] == str(key.credential.pk)


def test_without_a_price_the_fallback_price_counts(organization: Organization, enforced: Enforce, send: Send) -> None:
    make_limit(organization, scope=LimitScope.RUN, window=LimitWindow.LIFETIME, fallback_price=Decimal(5))
    send({"id": "1", "model": "brand-new", "run_id": "s-1", "input_tokens": 1_000_000, "output_tokens": 800_000})
    fold(now=NOW)
    assert names(enforced()) == ["s-1"]
    set_price("other", input="1")
    assert enforced(NOW + MINUTE) == []


def test_a_manual_pause_of_all_values_is_reported_once(limit: SpendLimit, enforced: Enforce, spend: Spend) -> None:
    organization = limit.organization
    for number in range(3):
        spend("8", session_id=f"s-{number}")
    assert len(enforced()) == 3
    given = {"reason": "Runaway.", "ends_at": None, "actor": SYSTEM, "now": NOW}
    override = pause_limit(organization=organization, limit=limit, value="", **given)  # type: ignore[arg-type]
    assert enforced() == [
        "Acme Research: access is paused manually until it is resumed (limit of each session): Runaway."
    ]
    assert Notice.objects.latest("pk").data["spent_usd"] is None
    end_override(organization=organization, override=override, actor=SYSTEM, now=NOW)
    assert enforced() == ["Acme Research: access is back (limit of each session)"]


def test_a_pause_by_hand_of_one_value_that_has_spent_nothing(limit: SpendLimit, enforced: Enforce) -> None:
    given = {"reason": "Runaway.", "ends_at": SOON, "actor": SYSTEM, "now": NOW}
    pause_limit(organization=limit.organization, limit=limit, value="s-1", **given)  # type: ignore[arg-type]
    (subjects,) = enforced()
    assert "(limit of session s-1): Runaway." in subjects
    assert enforced(SOON) == ["Acme Research: access is back, $0.00 of $10.00 of the limit of session s-1 are used"]


def test_a_limit_that_is_removed_leaves_no_value_behind(limit: SpendLimit, enforced: Enforce, spend: Spend) -> None:
    for number in range(3):
        spend("10", session_id=f"s-{number}")
    enforced()
    remove_limit(organization=limit.organization, limit=limit, actor=SYSTEM, now=NOW)
    assert len(enforced()) == 3
    assert open_threshold_events() == []


def test_archived_costs_count_in_a_lifetime(limit: SpendLimit, enforced: Enforce, spend: Spend) -> None:
    spend("4", session_id="s-1")
    fold(now=NOW)
    ScopeTotal.objects.update(archived=True)
    spend("4", session_id="s-1", at=NOW + MINUTE)
    fold(now=NOW + MINUTE)
    assert names(enforced(NOW + MINUTE)) == ["s-1"]
    assert ThresholdEvent.objects.get().spent_usd == 8
