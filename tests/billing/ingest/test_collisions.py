"""Different LiteLLM calls with the same id are stored as different events, and repeated calls only once."""

import json
from typing import Any

from billing.ingest.quarantine import ingest_or_quarantine
from billing.ledger.partitions import month_of, next_month
from billing.models import QuarantinedRecord, UsageEvent
from billing.rollups.retention import drop_events
from organizations.models import Organization
from tests.billing.ingest.litellm_payloads import NOW, payload
from tests.usage import total_cost

NEXT_MONTH = next_month(month_of(NOW))


def send(organization: Organization, *records: dict[str, Any]) -> tuple[int, int, int, int]:
    """Accepted, duplicates, conflicts, rejected."""
    result = ingest_or_quarantine(
        organization=organization,
        credential=None,
        format="litellm",
        records=[json.dumps(record).encode() for record in records],
        now=NOW,
    )
    return result.accepted, result.duplicates, result.conflicts, result.rejected


def numbered(call_id: str | None, **changes: Any) -> dict[str, Any]:
    """A call with an id that the server reuses."""
    return payload(id="chatcmpl-7", litellm_call_id=call_id, **changes)


def ids() -> list[str]:
    return sorted(UsageEvent.objects.values_list("event_id", flat=True))


def test_two_calls_under_one_id_are_two_events_whenever_they_come(organization: Organization) -> None:
    first, second, third = (numbered(f"call-{number}", completion_tokens=number) for number in range(3))
    assert send(organization, first, second) == (2, 0, 0, 0)
    assert send(organization, third) == (1, 0, 0, 0)
    assert ids() == ["chatcmpl-7", "chatcmpl-7_call-1", "chatcmpl-7_call-2"]
    assert set(UsageEvent.objects.values_list("request_id", flat=True)) == {"chatcmpl-7"}


def test_sent_again_in_another_order_they_are_duplicates(organization: Organization) -> None:
    calls = [numbered(f"call-{number}") for number in range(3)]
    send(organization, *calls)
    assert send(organization, *reversed(calls)) == (0, 3, 0, 0)
    assert send(organization, calls[1]) == (0, 1, 0, 0)


def test_one_call_with_two_contents_is_a_conflict(organization: Organization) -> None:
    assert send(organization, numbered("call-1")) == (1, 0, 0, 0)
    assert send(organization, numbered("call-1", completion_tokens=8)) == (0, 0, 1, 0)


def test_without_call_ids_two_contents_are_a_conflict(organization: Organization) -> None:
    assert send(organization, numbered(None), numbered(None, completion_tokens=8)) == (1, 0, 1, 0)
    assert send(organization, numbered("call-1", completion_tokens=9)) == (0, 0, 1, 0)


def test_a_finished_batch_is_paid_once_however_often_it_is_read(organization: Organization) -> None:
    def read(call_id: str, start: float) -> dict[str, Any]:
        return numbered(call_id, call_type="aretrieve_batch", model="", response_cost=0.5, startTime=start)

    assert send(organization, read("call-1", 1_760_000_000.5)) == (1, 0, 0, 0)
    assert send(organization, read("call-2", 1_760_000_060.5)) == (0, 0, 1, 0)
    assert total_cost(UsageEvent.objects.all()) == 0.5


def test_an_id_is_taken_within_its_organization_alone(
    organization: Organization, other_organization: Organization
) -> None:
    send(organization, numbered("call-1"))
    send(other_organization, numbered("call-2"))
    assert ids() == ["chatcmpl-7", "chatcmpl-7"]
    assert not QuarantinedRecord.objects.exists()


def test_calls_are_distinguished_from_those_whose_events_were_dropped(organization: Organization) -> None:
    old = [numbered(f"call-{number}", completion_tokens=number) for number in range(2)]
    send(organization, *old)
    drop_events(before=NEXT_MONTH, actor="tests", now=NEXT_MONTH, report=lambda _: None)
    assert not UsageEvent.objects.exists()

    assert send(organization, *reversed(old)) == (0, 2, 0, 0)
    assert send(organization, numbered("call-2", completion_tokens=2), *old) == (1, 2, 0, 0)
    assert ids() == ["chatcmpl-7_call-2"]
    assert send(organization, numbered("call-2", completion_tokens=2)) == (0, 1, 0, 0)
