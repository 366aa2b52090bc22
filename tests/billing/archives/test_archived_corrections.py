"""Archived events are corrected, found by their id and erased; checks notice a file that is damaged."""

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pyarrow import parquet

from billing import archiving, erasure
from billing.archive_checks import file_checks
from billing.archives.lookup import find_archived_event
from billing.archiving import check_files
from billing.deletion import delete_closed_organizations
from billing.erasure import erase_person
from billing.ledger.corrections import adjust, void
from billing.models import DroppedMonth, EventArchive, UsageEvent
from billing.models.rollups import UsageHour
from billing.reports.archive_health import archive_checks
from billing.rollups.fold import fold
from billing.rollups.retention import drop_events
from billing.rollups.verify import verify
from costtrack.clock import utc_now
from costtrack.errors import ConflictError, NotFoundError
from organizations.models import Organization
from tests.billing.archives.test_archiving import (
    Killed,
    archive,
    die,
    files_of,
    is_right,
    read,
    stored_files,
    three_months,
)
from tests.billing.rollups.test_retention import AUGUST, DAY, OCTOBER, SEPTEMBER, totals
from tests.billing.test_deletion import end_grace_period
from tests.conftest import Key
from tests.organizations.test_closing import body_of
from tests.usage import NOW, Send

__all__ = ["three_months"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_history", "three_months")]

OF_PERSON = {"user_ref": "ada"}


def events_of_august(organization: Organization) -> list[UsageEvent]:
    rows = UsageEvent.objects.of(organization).filter(received_at__lt=SEPTEMBER).order_by("id")
    return [row for row in rows if row.kind != "adjustment"]


def correct(correction: Any, organization: Organization, event: UsageEvent, **given: Any) -> Any:
    return correction(
        organization=organization, event_id=event.pk, reason="A test", actor="op@example.com", now=NOW, **given
    )


def test_an_archived_event_is_the_row_that_it_was(organization: Organization, tmp_path: Path) -> None:
    before = {row.pk: row for row in UsageEvent.objects.of(organization).filter(received_at__lt=SEPTEMBER)}
    archive(tmp_path, organization)
    for event_id, row in before.items():
        found = find_archived_event(organization=organization, event_id=event_id)
        assert found is not None
        for field in UsageEvent._meta.concrete_fields:
            assert getattr(found, field.attname) == getattr(row, field.attname), field.attname
    corrected = [find_archived_event(organization=organization, event_id=event_id) for event_id in list(before)[:2]]
    # The void was made in October, which is not archived.
    assert sorted(len(event.archived_adjustments) for event in corrected if event) == [0, 1]


def test_a_correction_of_an_archived_event_is_an_adjustment_in_the_open_month(
    organization: Organization, tmp_path: Path
) -> None:
    first, second, third, unpriced, tool = events_of_august(organization)
    archive(tmp_path, organization)

    # The first was adjusted in September, the second voided in October.
    corrected = correct(adjust, organization, first, cost_usd=Decimal("0.5"))
    assert corrected.cost_before_usd == Decimal("0.123456789012345678901234")
    with pytest.raises(ConflictError, match="already voided"):
        correct(void, organization, second)
    correct(void, organization, third)
    correct(adjust, organization, unpriced, cost_usd=Decimal("0.000000000000000000000007"))
    correct(adjust, organization, tool, cost_usd=Decimal("0.75"))
    with pytest.raises(ConflictError, match=r"already 0\.5 USD"):
        correct(adjust, organization, first, cost_usd=Decimal("0.5"))
    fold(now=NOW)

    adjustment = UsageEvent.objects.of(organization).get(pk=corrected.adjustment.pk)
    assert (adjustment.adjusts, adjustment.occurred_at) == (first.pk, first.occurred_at)
    assert adjustment.received_at == NOW
    assert DroppedMonth.objects.of(organization).get(month=AUGUST).unpriced == 0
    assert is_right(organization)
    lines = read(organization, "2026-08").splitlines()
    assert [line for line in lines if str(first.pk) in line and ",0.5," in line]
    assert [line for line in lines if str(unpriced.pk) in line and "0.000000000000000000000007" in line]
    assert [line for line in lines if str(third.pk) in line and ",true," in line]


def test_the_api_explains_and_corrects_archived_events(organization: Organization, key: Key, tmp_path: Path) -> None:
    event = events_of_august(organization)[0]
    client = key.client()
    before = body_of(client.get(f"/usage/events/{event.pk}"))
    archive(tmp_path, organization)
    after = body_of(client.get(f"/usage/events/{event.pk}", headers={"X-Bypass-Cache": "1"}))
    assert after == before
    assert len(after["adjustments"]) == 1
    missing = str(event.pk)[:-4] + "0fff"
    assert client.get(f"/usage/events/{missing}").status_code == 404


def test_without_the_later_months_an_archived_event_has_no_known_cost(
    organization: Organization, tmp_path: Path
) -> None:
    event = events_of_august(organization)[0]
    archive(tmp_path, organization, month=AUGUST)
    drop_events(before=OCTOBER, organization=organization, actor="", now=NOW, report=lambda _: None)
    with pytest.raises(ConflictError, match="dropped"):
        correct(void, organization, event)
    assert is_right(organization)


def test_an_archived_event_belongs_to_its_organization(
    organization: Organization, other_organization: Organization, tmp_path: Path
) -> None:
    event = events_of_august(organization)[0]
    archive(tmp_path, organization, other_organization)
    with pytest.raises(NotFoundError):
        correct(void, other_organization, event)
    assert str(event.pk) not in read(other_organization, "2026-08")


def test_sums_of_the_manifest_are_compared_with_the_archived_rows(organization: Organization, tmp_path: Path) -> None:
    archive(tmp_path, organization)
    row = UsageHour.objects.of(organization).filter(archived=True).first()
    assert row is not None
    UsageHour.objects.of(organization).filter(archived=True, hour=row.hour, model=row.model).update(requests=99)
    found = {check.name: check.count for check in verify(organization_id=organization.pk, now=NOW)}
    assert found["archives"] == 1


def test_a_person_is_erased_in_the_archive(
    organization: Organization, other_organization: Organization, send: Send, tmp_path: Path
) -> None:
    send(
        {"model": "gpt-4o", "user_id": "sam", "metadata": {"ada": ["ada", "adam"], "by": "ada"}, "occurred_at": AUGUST},
        now=AUGUST + 12 * DAY,
    )
    fold(now=NOW)
    counted = dry_run(organization, "ada")
    archive(tmp_path, organization, other_organization)
    assert dry_run(organization, "ada") == counted
    before = {row.pk: row for row in EventArchive.objects.all()}
    others = stored_files(tmp_path / "globex")
    sums = totals()["usage_hours"]

    erased = erase_person(organization=organization, user_id="ada", actor="op@example.com")

    assert erased.rows["billing_eventarchive"] > 0
    assert totals()["usage_hours"] == sums
    lines = read(organization, "2026-08", "--format=jsonl")
    assert erased.pseudonym in lines
    assert '"ada"' not in lines
    for path in (tmp_path / "acme").glob("*.parquet"):
        stored = str(parquet.read_table(path).to_pylist()).replace('"ada": [', "")
        assert ("'ada'" in stored, '"ada"' in stored, "adam" in stored) == (False, False, "2026-08" in path.name)
    assert stored_files(tmp_path) == files_of(*EventArchive.objects.all())
    assert stored_files(tmp_path / "globex") == others
    for row in EventArchive.objects.all():
        has_changed = row.organization_id == organization.pk
        assert (row.sha256 != before[row.pk].sha256) == has_changed
        assert (row.events, row.cost_usd) == (before[row.pk].events, before[row.pk].cost_usd)
    assert [problem for _, problem in archiving.find_problems(now=NOW, with_digests=True)] == [""] * 4
    assert is_right(organization)


def dry_run(organization: Organization, person: str) -> str:
    output = io.StringIO()
    call_command("forget_person", organization.slug, person, "--dry-run", stdout=output)
    return output.getvalue()


@pytest.mark.parametrize("is_after_commit", [False, True])
def test_a_crash_while_a_person_is_erased_leaves_valid_files(
    is_after_commit: bool,  # noqa: FBT001
    organization: Organization,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive(tmp_path, organization)
    text = read(organization, "2026-08")
    with monkeypatch.context() as patched:
        patched.setattr(
            *((archiving, "discard_unfinished") if is_after_commit else (erasure, "bump_ledger_version")), die
        )
        with pytest.raises(Killed):
            erase_person(organization=organization, user_id="ada", actor="op@example.com")
    assert (read(organization, "2026-08") == text) is not is_after_commit
    problems = [problem for _, problem in archiving.find_problems(now=NOW, with_digests=True)]
    assert any("before a person was erased" in problem for problem in problems) is is_after_commit
    archive(tmp_path, organization)  # finds nothing to archive, and deletes what is left
    assert stored_files(tmp_path) == files_of(*EventArchive.objects.all())
    assert check_files(now=NOW) == 0


def test_a_person_is_not_erased_if_a_file_is_missing(organization: Organization, tmp_path: Path) -> None:
    archive(tmp_path, organization)
    (file,) = (tmp_path / "acme").glob("2026-09*.parquet")
    file.unlink()
    with pytest.raises(CommandError, match="does not exist"):
        call_command("forget_person", "acme", "ada", "--yes")
    assert UsageEvent.objects.of(organization).filter(**OF_PERSON).exists()
    assert stored_files(tmp_path) < files_of(*EventArchive.objects.all())


def test_health_and_doctor_say_which_file_is_damaged(organization: Organization, tmp_path: Path) -> None:
    assert archive_checks() == file_checks() == []
    archive(tmp_path, organization)
    assert check_files(now=NOW) == 0
    assert [(check.ok, check.details["Files"]) for check in archive_checks()] == [(True, "2")]
    assert [check.ok for check in file_checks()] == [True]

    (august,) = (tmp_path / "acme").glob("2026-08*.parquet")
    content = august.read_bytes()
    august.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    assert check_files(now=NOW) == 0  # the size is the same
    (check,) = file_checks()
    assert (check.ok, check.details["Problem"]) == (False, "The file has another digest than the manifest.")
    august.unlink()
    assert check_files(now=NOW) == 1
    (check,) = archive_checks()
    assert not check.ok
    assert "2026-08" in check.details["Problems"]
    assert "does not exist" in check.details["Problems"]


def test_the_files_of_a_deleted_organization_are_deleted(
    organization: Organization, other_organization: Organization, tmp_path: Path
) -> None:
    archive(tmp_path, organization, other_organization)
    end_grace_period(organization)
    assert not delete_closed_organizations(now=utc_now(), seconds=60)
    assert stored_files(tmp_path) == files_of(*EventArchive.objects.of(other_organization))
