"""Disambiguation of different LiteLLM calls that have the same id."""

import re
from collections.abc import Sequence
from uuid import UUID

from billing.ingest.ledger_entries import event_key
from billing.ingest.litellm import SOURCE, short_text
from billing.ingest.types import ParsedEvent, UsageEventInput
from billing.ingest.validate import payload_hash
from billing.models import EventKey, UsageEvent
from organizations.models import Organization

_READS = re.compile(r"a?(retrieve|get|list)_")
_DROPPED = "a call whose event was dropped"


def disambiguate_ids(organization: Organization, events: Sequence[ParsedEvent]) -> None:
    """Append LiteLLM's call id to the id of each call whose id belongs to another call in the ledger or the batch.

    The id comes from the provider, and some servers just number their responses (Ollama has chatcmpl-0 to
    chatcmpl-998). Reading something that was already billed, such as a finished batch, is not another call.
    """
    calls = [(event_key(SOURCE, parsed.event.id), parsed.event) for parsed in events if parsed.event.id]
    call_ids, dropped = _stored_calls(organization, [key for key, _ in calls])
    for key, event in calls:
        call_id = _litellm_field(event, "call_id")
        if key in dropped:
            first_call_id = call_id if payload_hash(event) == dropped[key] else _DROPPED
        else:
            first_call_id = call_ids.setdefault(key, call_id)
        if (
            call_id
            and first_call_id
            and call_id != first_call_id
            and not _READS.match(_litellm_field(event, "call_type") or "")
        ):
            event.id = short_text(f"{event.id}_{call_id}")


def _stored_calls(organization: Organization, keys: Sequence[UUID]) -> tuple[dict[UUID, str | None], dict[UUID, int]]:
    """Return LiteLLM's call ids of the stored events with these keys, and the payload hashes of those whose events were
    dropped by retention."""
    rows = EventKey.objects.of(organization).filter(key__in=keys).values_list("key", "event_id", "payload_hash")
    stored_keys = {event_id: (key, payload) for key, event_id, payload in rows}
    events = UsageEvent.objects.of(organization).filter(id__in=stored_keys)
    call_ids = {
        stored_keys[event_id][0]: call_id
        for event_id, call_id in events.values_list("id", "metadata__litellm__call_id")
    }
    return call_ids, {key: payload for key, payload in stored_keys.values() if key not in call_ids}


def _litellm_field(event: UsageEventInput, name: str) -> str | None:
    """Return one of the LiteLLM fields in the metadata (`billing.ingest.litellm.mapping`)."""
    fields = (event.metadata or {}).get("litellm", {})
    value: str | None = fields.get(name)
    return value
