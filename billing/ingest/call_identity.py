"""The identity of a model call at its provider, by which reports of several sources are found to be one call. Pure.

docs/ingestion.md has the rules. `billing_match_calls` (billing/migrations/sql) applies them when events are written.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from uuid import UUID

from billing.ingest.types import ParsedEvent, UsageEventInput
from billing.ledger.types import LedgerEntry
from billing.pricing.canonical import service_name, undated_name
from billing.types import EventKind, Status

# Ids that only number the calls of one server (Ollama's chatcmpl-42), or are too short to be unique.
_NUMBERED = re.compile(r"(?:[A-Za-z]+[-_])*\d{1,9}")
_MIN_UNIQUE_LENGTH = 8
# The ids of providers, by which an event id is recognized as one.
_PROVIDER_ID = re.compile(r"(?:chatcmpl|cmpl|resp|msg|msg_bdrk|msg_vrtx|req|gen|embd|batch_req)[-_][A-Za-z0-9_-]{8,}")
# Services whose client libraries and protocols are used for the models of others, so their name proves nothing.
_AMBIGUOUS_SERVICES = frozenset({"openai", "azure", "aws", "google", "openrouter", "litellm"})

_MODEL_CALL = EventKind.MODEL_CALL.value
_FAILURE = Status.FAILURE.value


def take_call_identity(entry: LedgerEntry, parsed: ParsedEvent) -> None:
    """Store the keys of the call, and the provider and model as they are compared. An attempt that failed without usage
    is not a call."""
    event = parsed.event
    if entry.kind != _MODEL_CALL or (entry.status == _FAILURE and not (event.input_tokens or event.output_tokens)):
        return
    ids = _ids(event, parsed.call_ids)
    if not ids:
        return
    platform = service_name(event.service or "")
    entry.call_keys = [_call_digest(platform, call_id) for call_id in ids]
    entry.call_provider = "" if platform in _AMBIGUOUS_SERVICES else platform
    entry.call_model = undated_name(entry.canonical_model or entry.model or "")
    entry.may_repeat_calls = parsed.may_repeat_calls


def _ids(event: UsageEventInput, call_ids: Iterable[str]) -> Collection[str]:
    ids = [event.request_id] if event.request_id else []
    if event.id and event.id != event.request_id and _PROVIDER_ID.fullmatch(event.id):
        ids.append(event.id)
    ids += call_ids
    return ids if len(ids) <= 1 else dict.fromkeys(ids)


def call_key(platform: str, call_id: str) -> UUID:
    """Return the key of an id. Most ids are unique everywhere, so that a source that names another provider or none has
    the same key; the others are unique at their provider."""
    return UUID(_call_digest(platform, call_id))


def _call_digest(platform: str, call_id: str) -> str:
    """Return the hexadecimal digits of a key, which take less time than a UUID."""
    is_unique = len(call_id) >= _MIN_UNIQUE_LENGTH and not _is_numbered(call_id)
    text = call_id if is_unique else f"{platform}\0{call_id}"
    return hashlib.blake2b(text.encode(), digest_size=16, person=b"call").hexdigest()


def _is_numbered(call_id: str) -> bool:
    """Whether the id is `_NUMBERED`. Most end with something else, which is known faster than by the expression."""
    before = call_id.rstrip("0123456789")
    may_be = (before != call_id and before[-1:] in ("", "-", "_")) or not call_id.isascii()
    return may_be and _NUMBERED.fullmatch(call_id) is not None
