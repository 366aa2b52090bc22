"""Different calls of LiteLLM under one id."""

import re
from collections.abc import Sequence
from uuid import UUID

from billing.ingest.entries import event_key, payload_hash
from billing.ingest.litellm import SOURCE, short_text
from billing.ingest.types import ParsedEvent, UsageEventInput
from billing.models import EventKey, UsageEvent
from organizations.models import Organization

_READS = re.compile(r"a?(retrieve|get|list)_")
_DROPPED = "a call whose event was dropped"


def disambiguate_ids(organization: Organization, events: Sequence[ParsedEvent]) -> None:
    """Give each call an id of its own whose id another call holds, in the ledger or earlier in the batch.

    The id comes from the provider, and some servers just number their answers (Ollama has chatcmpl-0 to chatcmpl-998).
    LiteLLM's call id tells a call from another one. Reading something again that was billed before, such as a
    finished batch, is no other call.
    """
    calls = [(event_key(SOURCE, parsed.event.id), parsed.event) for parsed in events if parsed.event.id]
    holders, dropped = _holders(organization, [key for key, _ in calls])
    for key, event in calls:
        call_id = _fact(event, "call_id")
        if key in dropped:
            holder = call_id if payload_hash(event) == dropped[key] else _DROPPED
        else:
            holder = holders.setdefault(key, call_id)
        if call_id and holder and call_id != holder and not _READS.match(_fact(event, "call_type") or ""):
            event.id = short_text(f"{event.id}_{call_id}")


def _holders(organization: Organization, keys: Sequence[UUID]) -> tuple[dict[UUID, str | None], dict[UUID, int]]:
    """The calls that hold these keys in the ledger, by LiteLLM's id of the call; and of those whose events were
    dropped the hash of what they said, which is all that is left of them."""
    rows = EventKey.objects.of(organization).filter(key__in=keys).values_list("key", "event_id", "payload_hash")
    held = {event_id: (key, payload) for key, event_id, payload in rows}
    events = UsageEvent.objects.of(organization).filter(id__in=held)
    holders = {
        held[event_id][0]: call_id for event_id, call_id in events.values_list("id", "metadata__litellm__call_id")
    }
    return holders, {key: payload for key, payload in held.values() if key not in holders}


def _fact(event: UsageEventInput, name: str) -> str | None:
    """What LiteLLM knows of the call (`billing.ingest.litellm.mapping`)."""
    facts = (event.metadata or {}).get("litellm", {})
    value: str | None = facts.get(name)
    return value
