"""A refusal says exactly when the call would be authorized, however many events are not folded yet, and without reading
them."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from billing.limits import covered_spend, spend_times
from billing.limits.refusal import Refusal, SpendLimitExceededError
from billing.rollups.fold import fold
from billing.types import LimitScope, LimitWindow
from costtrack.revision_cache import RevisionCache
from organizations.models import Organization
from tests.limits import set_limit, take
from tests.usage import NOW, Send

HOUR_BEFORE = NOW - timedelta(hours=1)
DAY = timedelta(days=1)
_ROWS = """
SELECT sum(pg_stat_get_xact_tuples_returned(relid) + pg_stat_get_xact_tuples_fetched(relid))
FROM pg_partition_tree('billing_usageevent')
"""


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few events are enough to be covered."""
    monkeypatch.setattr(covered_spend, "_MIN_EVENTS", 1)
    monkeypatch.setattr(covered_spend, "_loaded_lately", {})
    monkeypatch.setattr(covered_spend, "_cache", RevisionCache(1000))
    monkeypatch.setattr(spend_times, "_cache", RevisionCache(1000))
    monkeypatch.setattr(spend_times, "_many_lately", {})


def spend(send: Send, seconds: list[int], *, usd: str = "1") -> None:
    """One event at each of these seconds of the hour before. The next authorization covers them."""
    covered_spend._loaded_lately.clear()
    times = [HOUR_BEFORE + timedelta(seconds=at) for at in seconds]
    send(
        *({"user_id": "ada", "cost_usd": usd, "occurred_at": at.isoformat()} for at in times),
        now=NOW - timedelta(seconds=9),
    )


def refused(organization: Organization, amount_usd: str = "1", now: datetime = NOW) -> Refusal:
    with pytest.raises(SpendLimitExceededError) as error:
        take(organization, amount_usd, now=now, user_ref="ada")
    return error.value.refusal


def answer(refusal: Refusal) -> dict[str, Any]:
    return refusal.details()


def ledger_rows(act: Callable[[], object]) -> int:
    """The number of the ledger's rows that PostgreSQL reads meanwhile."""

    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute(_ROWS)
            return int(cursor.fetchone()[0])

    before = count()
    act()
    return count() - before


def set_limits(organization: Organization, amount_usd: str) -> None:
    for scope, value in ((LimitScope.ORGANIZATION, ""), (LimitScope.USER, "ada")):
        for window in (LimitWindow.ROLLING_24H, LimitWindow.CALENDAR_MONTH):
            set_limit(organization, amount_usd, scope, value, window=window)


def test_a_refused_call_reads_no_more_of_the_ledger_the_more_is_unfolded(
    organization: Organization, send: Send
) -> None:
    set_limits(organization, "3")
    read = []
    for events in (10, 60):
        spend(send, list(range(events)))
        refused(organization)
        read.append(ledger_rows(lambda: refused(organization)))
    assert read == [0, 0]


def test_a_covered_answer_is_that_of_folded_events(organization: Organization, send: Send) -> None:
    set_limits(organization, "3")
    spend(send, [60 * at for at in range(60)])
    added_up = answer(refused(organization))
    covered = answer(refused(organization))
    fold(now=NOW)
    assert added_up == covered == answer(refused(organization))
    assert covered["spent_usd"] == "60"


@pytest.mark.parametrize("seed", range(4))
def test_the_time_is_that_of_an_event_however_many_the_hour_has(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(spend_times, "_PARTS", 3)
    chance = random.Random(seed)
    seconds = [chance.choice((chance.randrange(3600), 7)) for _ in range(40)]
    left = chance.randrange(1, 39)
    set_limit(organization, str(left + 1), window=LimitWindow.ROLLING_24H)
    spend(send, seconds)
    if seed % 2:
        fold(now=NOW)
    # All but `left` events must have left the window.
    last = HOUR_BEFORE + timedelta(seconds=sorted(seconds)[-left - 1])
    assert refused(organization).returns_at == last + DAY


def test_an_hour_is_read_again_when_its_spend_has_changed(organization: Organization, send: Send) -> None:
    set_limit(organization, "3", window=LimitWindow.ROLLING_24H)
    spend(send, [10, 20, 30, 40])
    first = refused(organization)
    spend(send, [50])
    assert first.returns_at == HOUR_BEFORE + timedelta(seconds=20) + DAY
    assert refused(organization).returns_at == HOUR_BEFORE + timedelta(seconds=30) + DAY


def test_after_many_events_were_read_changed_spend_counts_until_the_end_of_its_hour(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spend_times, "_MANY_EVENTS", 0)
    set_limit(organization, "3", window=LimitWindow.ROLLING_24H)
    spend(send, [10, 20, 30, 40])
    exact = refused(organization)
    spend(send, [50])
    assert exact.returns_at == HOUR_BEFORE + timedelta(seconds=20) + DAY
    assert refused(organization).returns_at == NOW + DAY
    spend_times._many_lately.clear()
    assert refused(organization).returns_at == HOUR_BEFORE + timedelta(seconds=30) + DAY
