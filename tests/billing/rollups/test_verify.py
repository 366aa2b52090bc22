"""Verifying finds whatever is wrong in a rollup, and nothing else."""

from datetime import timedelta

import pytest
from django.db import connection, transaction

from billing.models import RollupCheck, UnpricedEvent
from billing.models.rollups import SpendDay, UsageHour
from billing.rollups import chunks
from billing.rollups.definitions import ROLLUPS
from billing.rollups.fold import fold
from billing.rollups.types import Checked, Step
from billing.rollups.verify import ARCHIVES, COUNTED, QUEUE, TOTALS, verify
from organizations.models import Organization
from tests.billing.rollups.planting import FULL, KINDS, plant, plantings, rows_of_full
from tests.usage import NOW, Send


def differing(organization: Organization) -> dict[str, Checked]:
    checked = verify(organization_id=organization.pk, now=NOW)
    return {check.name: check for check in checked if check.count}


def test_what_has_been_folded_is_as_the_ledger_says(send: Send, organization: Organization) -> None:
    send(FULL, {**FULL, "run_id": "", "tags": []}, {"model": "unpriced", "session_id": "other"})
    fold(now=NOW)

    checked = verify(organization_id=organization.pk, now=NOW)

    assert [check.name for check in checked] == [*(rollup.name for rollup in ROLLUPS), TOTALS, QUEUE, COUNTED, ARCHIVES]
    assert not any(check.count for check in checked)


@pytest.mark.parametrize("has_unfolded", [False, True], ids=["all folded", "some waiting"])
@pytest.mark.parametrize("kind", KINDS)
def test_differences_are_found_where_they_were_planted(
    kind: str, send: Send, organization: Organization, *, has_unfolded: bool
) -> None:
    """In every other rollup, and then in the others: nothing is found in those between them."""
    send(FULL)
    fold(now=NOW)
    if has_unfolded:
        send(FULL, {**FULL, "model": "other"})
    for planted in plantings(kind):
        with transaction.atomic():
            for rollup in planted:
                plant(rollup, kind)
            found = differing(organization)
            transaction.set_rollback(True)

        is_counted = kind in ("missing", "superfluous") and any(rollup.counted_in for rollup in planted)
        assert set(found) - {TOTALS} == {rollup.name for rollup in planted} | ({COUNTED} if is_counted else set())
        for rollup in planted:
            check = found[rollup.name]
            assert check.count == len(check.differences) == rows_of_full(rollup), rollup.name


def test_a_difference_says_what_is_wrong_and_where(send: Send, organization: Organization) -> None:
    send(FULL)
    fold(now=NOW)
    SpendDay.objects.update(requests=3)

    (difference,) = differing(organization)["spend_days"].differences

    assert str(difference) == (
        "day '2026-11-01', credential_id '0', user_ref 'ada', model 'gpt-4o': requests is 3 instead of 1"
    )
    SpendDay.objects.all().delete()
    assert str(differing(organization)["spend_days"].differences[0]).endswith(": the row is missing")


def test_what_was_not_folded_is_on_neither_side(send: Send, organization: Organization) -> None:
    for _ in range(3):
        send(FULL)
        assert not differing(organization)
    fold(now=NOW)
    assert not differing(organization)


def test_other_organizations_are_not_looked_at(
    send: Send, organization: Organization, other_organization: Organization
) -> None:
    send(FULL)
    send(FULL, to=other_organization)
    fold(now=NOW)
    UsageHour.objects.filter(organization=other_organization).delete()

    assert not differing(organization)
    assert "usage_hours" in differing(other_organization)


def test_totals_of_rollups_of_the_same_events_are_compared_with_archived_rows(
    send: Send, organization: Organization
) -> None:
    send(FULL)
    fold(now=NOW)
    SpendDay.objects.update(archived=True)
    UsageHour.objects.update(archived=True)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_spendday SET requests = 2")

    found = differing(organization)

    assert found[TOTALS].count == 1
    assert "requests is 2 instead of 1" in str(found[TOTALS].differences[0])


def test_the_queue_holds_as_many_events_as_are_counted_without_a_price(send: Send, organization: Organization) -> None:
    send({"model": "unpriced"}, {"model": "unpriced"})
    assert not differing(organization)
    fold(now=NOW)
    assert not differing(organization)

    UnpricedEvent.objects.all()[:1].get().delete()

    assert "events is 1 instead of 2" in str(differing(organization)[QUEUE].differences[0])


def test_the_result_is_stored(send: Send, organization: Organization) -> None:
    send(FULL)
    fold(now=NOW)
    SpendDay.objects.all().delete()
    verify(organization_id=organization.pk, now=NOW)

    check = RollupCheck.objects.get(organization=organization, rollup="spend_days")
    assert (check.checked_at, check.differences) == (NOW, 1)
    assert check.first_difference.endswith("the row is missing")
    assert RollupCheck.objects.get(organization=organization, rollup="usage_hours").differences == 0
    assert RollupCheck.objects.count() == len(ROLLUPS) + 4


def test_what_was_found_in_a_rollup_that_is_no_more_is_forgotten(organization: Organization) -> None:
    RollupCheck.objects.create(organization=organization, rollup="former", checked_at=NOW, differences=1)
    verify(organization_id=organization.pk, now=NOW)
    assert not RollupCheck.objects.filter(rollup="former").exists()


def test_an_interrupted_verification_continues_where_it_stopped(send: Send, organization: Organization) -> None:
    def stop(step: Step) -> None:
        if step.rollup == "session_totals":
            raise KeyboardInterrupt

    send(FULL)
    fold(now=NOW)
    with pytest.raises(KeyboardInterrupt):
        verify(organization_id=organization.pk, now=NOW, progress=stop)
    rest = verify(organization_id=organization.pk, now=NOW, unless_since=NOW - timedelta(hours=1))

    names = [rollup.name for rollup in ROLLUPS]
    assert [check.name for check in rest] == [*names[names.index("session_totals") :], TOTALS, QUEUE, COUNTED, ARCHIVES]


def test_a_large_ledger_is_compared_in_parts(
    send: Send, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "MAX_EVENTS", 3)
    for day in range(1, 4):
        for number in range(3):
            session = {"session_id": f"s-{day}-{number}", "occurred_at": f"2026-10-{day:02}T23:59:59.999999Z"}
            send({**FULL, **session}, {**FULL, "session_id": ""})
    fold(now=NOW)
    steps: list[Step] = []
    verify(organization_id=organization.pk, now=NOW, progress=steps.append)
    # Nine events on three days, nine on a fourth, and sessions of nine events.
    assert [step.rollup for step in steps].count("usage_hours") == 4
    assert [step.rollup for step in steps].count("session_costs") == 3
    assert not differing(organization)

    for rollup in ROLLUPS:
        plant(rollup, "sum")
    found = differing(organization)
    for rollup in ROLLUPS:
        assert found[rollup.name].count == rollup.model._default_manager.count()
