"""Old events go, and no total changes."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from billing.ledger.partitions import ensure_month, partitions, prepare
from billing.ledger.price_unpriced import price_unpriced
from billing.models import DroppedMonth, EventKey, IngestBatch, Session, UnpricedEvent, UsageEvent
from billing.models.rollups import GroupDay, SpendDay, UsageHour
from billing.rollups import retention
from billing.rollups.definitions import ROLLUPS, Merge, Rollup
from billing.rollups.fold import fold
from billing.rollups.rebuild import rebuild
from billing.rollups.retention import drop_events, preview_drop, retain
from billing.rollups.types import Dropped
from billing.rollups.verify import verify
from costtrack.errors import InvalidError
from organizations.models import AuditEntry, Organization
from tests.billing.rollups.planting import FULL
from tests.usage import NOW, Send, set_price

AUGUST, SEPTEMBER, OCTOBER, NOVEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in (8, 9, 10, 11))
DAY = timedelta(days=1)


def at(instant: datetime, **fields: Any) -> dict[str, Any]:
    return {**FULL, "occurred_at": instant.isoformat(), **fields}


def drop(before: datetime, organization: Organization | None = None, *, now: datetime = NOW) -> list[Dropped]:
    """What was reported of tables that had events in them: there may be others, of other tests."""
    reported: list[Dropped] = []
    drop_events(before=before, organization=organization, actor="op@example.com", now=now, report=reported.append)
    return [entry for entry in reported if entry.events]


def is_right(organization: Organization) -> bool:
    return not any(check.count for check in verify(organization_id=organization.pk, now=NOW))


def totals() -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    """Every rollup as reports read it, by its key: to the last digit."""
    return {rollup.name: dict(_live_rows(rollup)) for rollup in ROLLUPS}


def _live_rows(rollup: Rollup) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    from django.db.models import Max, Min

    merges = {Merge.SUM: Sum, Merge.FIRST: Min, Merge.LAST: Max}
    keys = ["organization_id", *(dimension.column for dimension in rollup.dimensions)]
    merged = {f"total_{measure.column}": merges[measure.merge](measure.column) for measure in rollup.measures}
    for row in rollup.model.live()._default_manager.values(*keys).annotate(**merged).order_by(*keys):
        yield tuple(row.pop(key) for key in keys), row


def months(table_of: Organization | None = None) -> set[int]:
    owner_id = None if table_of is None else table_of.pk
    return {partition.month.month for partition in partitions() if partition.organization_id == owner_id}


@pytest.fixture
def three_months(send: Send, organization: Organization, other_organization: Organization) -> None:
    """Events of two organizations received in three months, also late ones; nothing of the last month is folded."""
    for month in (AUGUST, SEPTEMBER, OCTOBER):
        for to in (organization, other_organization):
            send(
                at(month + DAY, agent_name=f"Agent {month.month}"),
                at(month + 2 * DAY, session_id="", run_id="", tags=["only"], cost_usd="0.000000000000000000000001"),
                at(AUGUST + 3 * DAY, agent_name="Late"),
                {"model": "unpriced", "occurred_at": (month + DAY).isoformat(), "id": f"unpriced-{month.month}"},
                to=to,
                now=month + 10 * DAY,
            )
        if month < OCTOBER:
            fold(now=month + 11 * DAY)


@pytest.mark.usefixtures("three_months")
def test_old_months_of_all_organizations_are_dropped_and_every_total_stays(
    organization: Organization, other_organization: Organization
) -> None:
    before = totals()

    reported = drop(OCTOBER)

    assert [(entry.month, entry.organizations, entry.events) for entry in reported] == [
        (AUGUST, 2, 8),
        (SEPTEMBER, 2, 8),
    ]
    assert all(entry.bytes > 0 for entry in reported)
    assert totals() == before
    assert UsageEvent.objects.count() == 8
    assert months() >= {10, 11}
    assert not months() & {8, 9}
    assert is_right(organization)
    assert is_right(other_organization)


@pytest.mark.usefixtures("three_months")
def test_rows_that_are_partly_archived_are_what_the_remaining_events_say(organization: Organization) -> None:
    drop(SEPTEMBER)

    # A key of August 4th has events of three receipts, of which the first is gone: its name may have been the greatest.
    rows = GroupDay.objects.of(organization).filter(day=date(2026, 8, 4)).order_by("archived")
    assert [(row.archived, row.requests, row.agent_name) for row in rows] == [(False, 1, "Late"), (True, 1, "Late")]
    session = Session.live().objects.of(organization).get(session_id="session-1", archived=True)
    assert (session.first_at, session.last_at) == (AUGUST + DAY, AUGUST + 3 * DAY)
    assert not rebuild(organization_id=organization.pk)["session_totals"]
    assert is_right(organization)


@pytest.mark.usefixtures("three_months")
def test_what_was_not_folded_is_dropped_with_the_rest_and_counted_once(organization: Organization) -> None:
    before = totals()
    assert IngestBatch.objects.filter(folded_at=None).count() == 2
    drop(NOVEMBER)

    assert not UsageEvent.objects.exists()
    assert totals() == before
    assert is_right(organization)
    fold(now=NOW)
    assert totals() == before
    assert is_right(organization)


@pytest.mark.usefixtures("three_months")
def test_one_organizations_events_are_deleted_from_the_tables_it_shares(
    organization: Organization, other_organization: Organization
) -> None:
    before = totals()

    assert drop(OCTOBER, organization) == [Dropped(AUGUST, 1, 4, 0), Dropped(SEPTEMBER, 1, 4, 0)]

    assert totals() == before
    assert UsageEvent.objects.of(organization).count() == 4
    assert UsageEvent.objects.of(other_organization).count() == 12
    assert months() >= {8, 9, 10}
    assert is_right(organization)
    assert is_right(other_organization)
    assert drop(OCTOBER, organization) == []


def test_an_organizations_own_tables_are_dropped(
    send: Send, organization: Organization, other_organization: Organization
) -> None:
    send(at(AUGUST + DAY), now=AUGUST + DAY)
    prepare(AUGUST + 2 * DAY)
    for to in (organization, other_organization):
        send(at(SEPTEMBER + DAY), at(SEPTEMBER + DAY), to=to, now=SEPTEMBER + 2 * DAY)
    assert months(organization) == {9}
    before = totals()

    reported = drop(OCTOBER, organization)

    assert [(entry.month, entry.events, entry.bytes > 0) for entry in reported] == [
        (AUGUST, 1, False),
        (SEPTEMBER, 2, True),
    ]
    assert months(organization) == set()
    assert totals() == before
    assert UsageEvent.objects.of(other_organization).count() == 2
    assert is_right(organization)


@pytest.mark.usefixtures("three_months")
def test_a_dropped_event_sent_again_is_a_duplicate(send: Send, organization: Organization) -> None:
    keys = EventKey.objects.count()
    drop(OCTOBER)

    result = send({"model": "unpriced", "occurred_at": (AUGUST + DAY).isoformat(), "id": "unpriced-8"})

    assert (result.duplicates, result.accepted) == (1, 0)
    assert EventKey.objects.count() == keys
    assert UsageEvent.objects.of(organization).count() == 4


@pytest.mark.usefixtures("three_months")
def test_dropped_events_no_longer_wait_for_a_price(organization: Organization) -> None:
    drop(OCTOBER)

    assert UnpricedEvent.objects.of(organization).count() == 1
    dropped = DroppedMonth.objects.of(organization).order_by("month")
    assert [(row.month, row.events, row.unpriced) for row in dropped] == [
        (date(2026, 8, 1), 4, 1),
        (date(2026, 9, 1), 4, 1),
    ]
    assert UsageHour.live().objects.of(organization).aggregate(sum=Sum("unpriced")) == {"sum": 3}

    set_price("unpriced", request="1")
    assert price_unpriced(organization=organization, now=NOW) == 1
    assert UsageHour.live().objects.of(organization).aggregate(sum=Sum("unpriced")) == {"sum": 2}
    assert is_right(organization)


def test_an_event_may_go_before_its_adjustment(send: Send, organization: Organization) -> None:
    send({"model": "later", "occurred_at": (AUGUST + DAY).isoformat()}, now=AUGUST + DAY)
    set_price("later", request="0.5")
    price_unpriced(organization=organization, now=SEPTEMBER + DAY)
    before = totals()

    drop(SEPTEMBER)

    (adjustment,) = UsageEvent.objects.all()
    assert adjustment.kind == "adjustment"
    assert totals() == before
    assert is_right(organization)
    rows = SpendDay.objects.order_by("archived").values_list("archived", "requests", "unpriced")
    fold(now=NOW)
    assert list(rows.all()) == [(False, 0, -1), (True, 1, 1)]
    drop(OCTOBER)
    assert list(rows.all()) == [(True, 1, 0)]
    assert SpendDay.objects.get().token_cost_usd == Decimal("0.5")


@pytest.mark.usefixtures("three_months")
def test_the_months_that_were_dropped_are_in_the_audit_log(organization: Organization) -> None:
    drop(OCTOBER, organization)

    entries = AuditEntry.objects.filter(action="events.dropped").order_by("pk")
    assert [(entry.organization, entry.actor, entry.subject, entry.details) for entry in entries] == [
        (organization, "op@example.com", "2026-08", {"events": 4}),
        (organization, "op@example.com", "2026-09", {"events": 4}),
    ]


@pytest.mark.usefixtures("three_months")
def test_a_second_time_there_is_nothing_to_drop() -> None:
    assert drop(OCTOBER)
    assert drop(OCTOBER) == preview_drop(before=OCTOBER, now=NOW) == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'billing_usageevent_2026_0_'")
        assert cursor.fetchone() == (0,)


@pytest.mark.usefixtures("three_months")
def test_what_would_be_dropped_can_be_shown_before(organization: Organization) -> None:
    expected = [entry for entry in preview_drop(before=OCTOBER, now=NOW) if entry.events]
    assert UsageEvent.objects.count() == 24
    expected_of_one = preview_drop(before=SEPTEMBER, organization=organization, now=NOW)
    assert expected_of_one == drop(SEPTEMBER, organization) == [Dropped(AUGUST, 1, 4, 0)]

    assert [(entry.month, entry.organizations, entry.events) for entry in expected] == [
        (AUGUST, 2, 8),
        (SEPTEMBER, 2, 8),
    ]


@pytest.mark.usefixtures("three_months")
def test_of_very_many_organizations_the_smallest_are_taken_out_one_by_one(
    organization: Organization, other_organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_MAX_ORGANIZATIONS", 1)
    send(at(AUGUST), to=other_organization, now=AUGUST + 12 * DAY)
    before = totals()

    reported = drop(SEPTEMBER)

    assert [(entry.organizations, entry.events, entry.bytes > 0) for entry in reported] == [(1, 4, False), (1, 5, True)]
    assert totals() == before
    assert is_right(organization)


@pytest.mark.usefixtures("three_months")
def test_a_month_that_was_dropped_can_come_again(send: Send, organization: Organization) -> None:
    """A request may have begun before midnight and write after the month was dropped."""
    drop(SEPTEMBER)
    assert send(at(AUGUST + DAY), now=SEPTEMBER - DAY).accepted == 1
    drop(SEPTEMBER)

    assert DroppedMonth.objects.of(organization).get().events == 5
    assert is_right(organization)


def test_a_month_without_its_shared_table_gets_it_again(send: Send, organization: Organization) -> None:
    prepare(AUGUST)
    send(at(AUGUST + DAY), now=AUGUST + DAY)
    prepare(AUGUST + 2 * DAY)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE billing_usageevent_2026_09_shared")

    ensure_month(SEPTEMBER)

    assert months() >= {8, 9}


@pytest.mark.parametrize("before", [SEPTEMBER + DAY, datetime(2026, 12, 1, tzinfo=UTC)])
def test_only_months_that_are_over_can_be_dropped(before: datetime, organization: Organization) -> None:
    with pytest.raises(InvalidError, match="before"):
        drop(before)


@pytest.mark.usefixtures("three_months")
@pytest.mark.parametrize(
    ("months_of_all", "months_of_one", "left", "left_of_one"),
    [(0, 0, 12, 12), (2, 0, 8, 8), (0, 1, 12, 4), (2, 1, 8, 4), (1, 3, 4, 4), (24, 0, 12, 12)],
)
def test_the_smaller_number_of_months_counts(
    months_of_all: int,
    months_of_one: int,
    left: int,
    left_of_one: int,
    organization: Organization,
    other_organization: Organization,
) -> None:
    organization.retention_months = months_of_one
    organization.save()

    retain(months=months_of_all, now=NOW, report=lambda _: None)

    assert UsageEvent.objects.of(organization).count() == left_of_one
    assert UsageEvent.objects.of(other_organization).count() == left
