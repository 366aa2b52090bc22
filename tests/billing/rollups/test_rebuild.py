"""Rebuilding makes rollups what the ledger says, and touches nothing else."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.db.models import Sum
from psycopg import sql

from billing.models import LedgerState, Session
from billing.models.rollups import RunDay, SessionCost, SpendDay, TagDay, UsageHour
from billing.rollups import chunks
from billing.rollups.definitions import BY_NAME, ROLLUPS, Rollup
from billing.rollups.fold import fold
from billing.rollups.rebuild import rebuild
from billing.rollups.types import Step
from billing.rollups.verify import COUNTED, verify
from organizations.models import Organization
from tests.billing.rollups.planting import FULL, KINDS, plant, plantings, rows_of_full
from tests.usage import NOW, Send


def is_right(organization: Organization) -> bool:
    return not any(check.count for check in verify(organization_id=organization.pk, now=NOW))


@pytest.mark.parametrize("has_unfolded", [False, True], ids=["all folded", "some waiting"])
@pytest.mark.parametrize("kind", KINDS)
def test_planted_differences_are_healed(
    kind: str, send: Send, organization: Organization, *, has_unfolded: bool
) -> None:
    """In every other rollup, and then in the others: those between them are right, and nothing is written there."""
    send(FULL)
    fold(now=NOW)
    if has_unfolded:
        send(FULL, {**FULL, "model": "other"})
    for planted in plantings(kind):
        for rollup in planted:
            plant(rollup, kind)
        assert not is_right(organization)

        corrected = rebuild(organization_id=organization.pk)

        assert {name for name, rows in corrected.items() if rows} == {rollup.name for rollup in planted}
        assert is_right(organization)
        for rollup in planted:
            assert requests_of(rollup, organization) == (3 if has_unfolded else 1) * rows_of_full(rollup), rollup.name
    fold(now=NOW)
    assert is_right(organization)


def requests_of(rollup: Rollup, organization: Organization) -> int:
    rows = rollup.model.live()._default_manager.filter(organization=organization)
    total: int = rows.aggregate(sum=Sum("requests"))["sum"]
    return total


def test_empty_rollups_are_made_from_the_ledger(send: Send, organization: Organization) -> None:
    send(FULL, {**FULL, "session_id": "", "occurred_at": "2025-01-01T00:00:00Z"}, {"model": "unpriced"})
    fold(now=NOW)
    expected = {rollup: list(rollup.model._default_manager.order_by("pk").values()) for rollup in ROLLUPS}
    for rollup in ROLLUPS:
        plant(rollup, "missing")

    assert rebuild(organization_id=organization.pk) == {rollup.name: len(expected[rollup]) for rollup in ROLLUPS}
    for rollup in ROLLUPS:
        assert list(rollup.model._default_manager.order_by("pk").values()) == expected[rollup]


def test_rows_without_an_event_go_also_when_the_ledger_is_empty(organization: Organization, send: Send) -> None:
    send(FULL)
    fold(now=NOW)
    SpendDay.objects.update(day="1999-01-01")
    assert rebuild(organization_id=organization.pk)["spend_days"] == 2
    assert SpendDay.objects.get().day.year == 2026


def test_what_is_right_is_not_written(send: Send, organization: Organization) -> None:
    def versions() -> list[tuple[object, ...]]:
        found = []
        with connection.cursor() as cursor:
            for rollup in ROLLUPS:
                cursor.execute(sql.SQL("SELECT ctid, xmin, xmax FROM {}").format(sql.Identifier(rollup.table)))
                found += cursor.fetchall()
        return found

    send(FULL, {**FULL, "model": "other"})
    fold(now=NOW)
    before = versions()

    assert not any(rebuild(organization_id=organization.pk).values())
    assert versions() == before


def test_archived_rows_stay_as_they_are(send: Send, organization: Organization) -> None:
    send(FULL)
    fold(now=NOW)
    SpendDay.objects.update(archived=True, requests=7)

    rebuild(organization_id=organization.pk)

    assert dict(SpendDay.objects.values_list("archived", "requests")) == {True: 7, False: 1}


def test_only_the_named_rollups_are_rebuilt(send: Send, organization: Organization) -> None:
    send(FULL)
    fold(now=NOW)
    SpendDay.objects.all().delete()
    TagDay.objects.all().delete()

    assert rebuild(organization_id=organization.pk, rollups=[BY_NAME["spend_days"]]) == {"spend_days": 1}
    assert not TagDay.objects.exists()


def test_other_organizations_are_left_alone(
    send: Send, organization: Organization, other_organization: Organization
) -> None:
    send(FULL)
    send(FULL, to=other_organization)
    fold(now=NOW)
    SpendDay.objects.all().delete()

    rebuild(organization_id=organization.pk)

    assert SpendDay.objects.get().organization == organization


@pytest.fixture
def three_days(send: Send, organization: Organization) -> None:
    """One session on the first two days, another one on the third; then everything is wrong."""
    for day, session in ((1, "early"), (2, "early"), (3, "late")):
        send({**FULL, "session_id": session, "occurred_at": f"2026-10-{day:02}T22:00:00Z"})
    fold(now=NOW)
    for rollup in ROLLUPS:
        plant(rollup, "sum")


@pytest.mark.usefixtures("three_days")
def test_within_a_time_whole_days_are_rebuilt_and_sessions_completely(organization: Organization) -> None:
    noon = datetime(2026, 10, 2, 12, tzinfo=UTC)
    rebuild(organization_id=organization.pk, start=noon, end=noon)

    by_day = dict(SpendDay.objects.values_list("day__day", "requests"))
    assert by_day == {1: 2, 2: 1, 3: 2}
    assert dict(UsageHour.objects.values_list("hour__day", "requests")) == by_day
    assert dict(RunDay.objects.values_list("day__day", "requests")) == by_day
    assert dict(Session.objects.values_list("session_id", "requests")) == {"early": 2, "late": 2}
    assert dict(SessionCost.objects.values_list("session_id", "requests")) == {"early": 2, "late": 2}


@pytest.mark.usefixtures("three_days")
def test_a_time_may_be_open_at_either_end(organization: Organization) -> None:
    second, third = datetime(2026, 10, 2, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC)
    rebuild(organization_id=organization.pk, end=second)
    assert dict(SpendDay.objects.values_list("day__day", "requests")) == {1: 1, 2: 2, 3: 2}
    rebuild(organization_id=organization.pk, start=third)
    assert dict(SpendDay.objects.values_list("day__day", "requests")) == {1: 1, 2: 2, 3: 1}


# Of 17 rollups; of five others, which have one key here, there is one part each, and of the scopes' totals eleven: what
# they are cut by has that many values.
MAX_CHUNK_EVENTS = 17 * 3 + 5 + 11


def test_a_large_ledger_is_rebuilt_in_parts_and_folds_go_on_between_them(
    send: Send, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "MAX_EVENTS", 2)
    for day in range(1, 6):
        send({**FULL, "session_id": f"s-{day}", "occurred_at": f"2026-10-{day:02}T00:00:00Z"})
    fold(now=NOW)
    for rollup in ROLLUPS:
        plant(rollup, "superfluous")
    steps: list[Step] = []

    def go_on(step: Step) -> None:
        steps.append(step)
        send({**FULL, "session_id": f"s-{len(steps) % 7}"})
        fold(now=NOW)

    corrected = rebuild(organization_id=organization.pk, progress=go_on)

    assert [step.number for step in steps] == list(range(1, MAX_CHUNK_EVENTS + 1))
    assert {step.steps for step in steps} == {MAX_CHUNK_EVENTS}
    assert corrected["spend_days"] == 5
    assert is_right(organization)
    assert SpendDay.live().objects.aggregate(sum=Sum("requests")) == {"sum": 5 + MAX_CHUNK_EVENTS}


def test_a_wrong_count_is_found_and_healed(send: Send, organization: Organization) -> None:
    send(FULL, {**FULL, "session_id": "session-2"})
    fold(now=NOW)
    assert LedgerState.objects.values_list("sessions", "executions", "groups").get() == (2, 1, 1)
    LedgerState.objects.update(sessions=7, groups=0)

    (check,) = [check for check in verify(organization_id=organization.pk, now=NOW) if check.name == COUNTED]
    assert [(found.key, found.stored, found.expected) for found in check.differences] == [
        ({"count": "sessions"}, {"rows": "7"}, {"rows": "2"}),
        ({"count": "groups"}, {"rows": "0"}, {"rows": "1"}),
    ]

    rebuild(organization_id=organization.pk)
    assert LedgerState.objects.values_list("sessions", "executions", "groups").get() == (2, 1, 1)


def test_each_change_of_rollups_changes_their_version(send: Send, organization: Organization) -> None:
    versions = []
    for change in (fold, fold, lambda now: rebuild(organization_id=organization.pk)):  # noqa: ARG005
        send(FULL)
        change(now=NOW)
        versions.append(LedgerState.objects.get().version)
    assert len(set(versions)) == len(versions)
