"""The quarantine stores bad records once, without prompts, up to a cap, and can retry them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from billing.ingest import quarantine
from billing.ingest.quarantine import ingest_or_quarantine, retry
from billing.ingest.services import IngestResult
from billing.models import QuarantinedRecord, UsageEvent
from billing.types import EventKind
from costtrack.errors import ConflictError
from costtrack.tenancy import tenant_scope
from organizations.models import Organization
from tests.billing.ingest.litellm_payloads import NOW, PROMPT, payload
from tests.conftest import Key


def send(organization: Organization, *records: dict[str, Any] | bytes, key: Key | None = None) -> IngestResult:
    return ingest_or_quarantine(
        organization=organization,
        credential=key.credential if key else None,
        format="litellm",
        records=[record if isinstance(record, bytes) else json.dumps(record).encode() for record in records],
        now=NOW,
    )


def bad(**changes: Any) -> dict[str, Any]:
    return payload(response_cost=1e13, **changes)


def test_a_bad_record_is_quarantined_and_the_good_ones_are_stored(organization: Organization, key: Key) -> None:
    result = send(organization, payload(), bad(id="bad-1"), key=key)
    assert (result.accepted, result.rejected) == (1, 1)
    stored = QuarantinedRecord.objects.get()
    assert (stored.organization, stored.credential, stored.format) == (organization, key.credential, "litellm")
    assert (stored.record_id, stored.field, stored.code, stored.received_at) == (
        "bad-1",
        "cost_usd",
        "out_of_range",
        NOW,
    )
    assert "cost_usd" in stored.message
    assert json.loads(stored.raw)["response_cost"] == 1e13
    assert PROMPT not in stored.raw
    assert not stored.is_truncated


def test_a_conflicting_record_is_quarantined(organization: Organization) -> None:
    send(organization, payload())
    result = send(organization, payload(completion_tokens=8))
    assert (result.conflicts, result.rejected) == (1, 0)
    assert QuarantinedRecord.objects.get().code == "conflict"


def test_good_records_leave_nothing_in_the_quarantine(organization: Organization) -> None:
    send(organization, payload(), b"null")
    assert not QuarantinedRecord.objects.exists()


def test_a_sender_that_repeats_itself_does_not_fill_the_quarantine(organization: Organization) -> None:
    for _ in range(2):
        send(organization, bad(id="bad-1"), bad(id="bad-1"), bad(id="bad-2"))
    assert sorted(QuarantinedRecord.objects.values_list("record_id", flat=True)) == ["bad-1", "bad-2"]


def test_what_has_no_id_is_quarantined_each_time(organization: Organization) -> None:
    for _ in range(2):
        send(organization, b"[1]", b"[1]")
    assert QuarantinedRecord.objects.filter(record_id="", raw="").count() == 4


def test_it_holds_no_more_than_its_cap(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MAX_OPEN_RECORDS", 3)
    result = send(organization, *(bad(id=f"bad-{number}") for number in range(5)))
    assert result.rejected == 5
    assert QuarantinedRecord.objects.count() == 3
    send(organization, bad(id="bad-9"))
    assert QuarantinedRecord.objects.count() == 3


def test_the_cap_is_each_organizations_own(
    organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "MAX_OPEN_RECORDS", 1)
    send(organization, bad(id="same"))
    send(other_organization, bad(id="same"))
    assert QuarantinedRecord.objects.count() == 2


def test_the_cost_of_keeping_does_not_grow_with_the_number_of_records(
    organization: Organization, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    send(organization, payload())
    with django_assert_num_queries(7):
        send(organization, bad(id="one"))
    with django_assert_num_queries(7):
        send(organization, *(bad(id=f"bad-{number}") for number in range(50)))


def test_a_long_record_is_cut_and_says_so(organization: Organization) -> None:
    send(organization, bad(id="\N{GRINNING FACE}" * 30_000))
    stored = QuarantinedRecord.objects.get()
    assert stored.is_truncated
    assert len(stored.raw.encode()) <= quarantine.MAX_RAW_BYTES
    with pytest.raises(ConflictError, match="is incomplete"):
        retry(record=stored, now=NOW)


def test_a_record_that_postgresql_cannot_hold_is_stored_in_a_form_it_can(organization: Organization) -> None:
    send(organization, b'{"id": "a\\u0000b", "startTime": "never", "model": "x\\u0000"}')
    stored = QuarantinedRecord.objects.get()
    assert stored.record_id == "a\N{REPLACEMENT CHARACTER}b"
    assert json.loads(stored.raw)["model"] == "x\0"


def test_a_record_that_has_become_readable_is_stored_and_resolved(organization: Organization, key: Key) -> None:
    """As when the sender's clock was ahead: later the same record is no longer in the future."""
    early = payload(startTime=(NOW + timedelta(hours=2)).timestamp(), endTime=None)
    send(organization, early, key=key)
    stored = QuarantinedRecord.objects.get()
    assert stored.code == "in_the_future"
    later = NOW + timedelta(hours=3)
    result = retry(record=stored, now=later)
    assert result.accepted == 1
    stored.refresh_from_db()
    assert stored.resolved_at == later
    event = UsageEvent.objects.get()
    assert (event.event_id, event.credential, event.run_id) == (early["id"], key.credential, "run-7")


def test_a_record_that_is_still_bad_stays_and_says_why_now(organization: Organization) -> None:
    send(organization, bad())
    stored = QuarantinedRecord.objects.get()
    QuarantinedRecord.objects.update(code="older", message="An older reason.")
    result = retry(record=stored, now=NOW)
    assert (result.accepted, result.rejected) == (0, 1)
    stored.refresh_from_db()
    assert (stored.resolved_at, stored.code) == (None, "out_of_range")
    assert "cost_usd" in stored.message


def test_a_record_is_retried_once(organization: Organization) -> None:
    send(organization, payload(), payload(startTime=(NOW + timedelta(hours=2)).timestamp(), id="x"))
    stored = QuarantinedRecord.objects.get()
    retry(record=stored, now=NOW + timedelta(hours=3))
    stale = QuarantinedRecord(pk=stored.pk, organization=organization)
    with pytest.raises(ConflictError, match="already"):
        retry(record=stale, now=NOW)
    assert UsageEvent.objects.filter(kind=EventKind.MODEL_CALL).count() == 2


def test_a_record_that_an_operators_credential_brought_can_be_retried(
    organization: Organization, operator_key: Key
) -> None:
    send(organization, payload(startTime=(NOW + timedelta(hours=2)).timestamp()), key=operator_key)
    with tenant_scope(organization.pk):
        stored = QuarantinedRecord.objects.get()
        assert retry(record=stored, now=NOW + timedelta(hours=3)).accepted == 1
    assert UsageEvent.objects.get().credential == operator_key.credential
