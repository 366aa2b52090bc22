"""The statements that write to the ledger. They call PostgreSQL functions, which contain its rules
(billing/migrations/sql).

`append_batches` writes complete batches with one statement. Outside a transaction this is a single round trip,
including the commit. A batch with session summaries takes several statements: `write_events` for each step, and
`complete_batch` at the end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import NOT_PROVIDED

from billing.ledger.types import LedgerEntry, Refusal
from billing.models import UsageEvent
from costtrack.database.local_settings import execute_together
from costtrack.database.queries import fetch_rows
from costtrack.ids import event_ids, last_event_id, new_batch_id
from organizations.credential_check import CredentialCheck

# billing/migrations/sql/0031_append_batches.sql, 0034_write_events.sql, 0078_match_calls.sql and
# 0013_complete_batches.sql.
_APPEND = "SELECT * FROM billing_append_batches(%s, %s::bigint[], %s, %s, %s, %s, %s, %s, %s, %s)"
_SHORT_TIMEOUT = ("SET LOCAL lock_timeout = '100ms'", ())
_REVISIONS = "SELECT billing_price_revisions(%s)"
_WRITE = "SELECT * FROM billing_write_events(%s, %s, %s, %s, %s, %s, %s)"
_COMPLETE = """
SELECT billing_complete_batches(%s, %s, %s, %s::uuid[], %s::text[], %s::text[], %s::uuid[], %s::numeric[], %s::int[],
    %s::uuid[], %s::boolean[])
"""

_encode = msgspec.json.Encoder().encode

PriceRevisions = tuple[int, int] | None
"""The revisions of the organization's and of the shared prices. None: prices are not checked."""

Refused = dict[UUID, Refusal]
"""The events that were not written, and those that may be duplicates."""


@dataclass(slots=True)
class NewBatch:
    """A batch to write. It assigns ids and the time of receipt to its entries."""

    entries: list[LedgerEntry]
    credential_id: int | None
    format: str
    rejected: int
    received_at: datetime
    id: UUID
    credential_check: CredentialCheck | None = None

    @classmethod
    def of(
        cls,
        entries: Sequence[LedgerEntry],
        *,
        credential_id: int | None,
        format: str,  # noqa: A002 - named like the model field
        rejected: int,
        received_at: datetime,
        credential_check: CredentialCheck | None = None,
    ) -> "NewBatch":
        batch = cls([], credential_id, format, rejected, received_at, new_batch_id(received_at), credential_check)
        batch.add(entries)
        return batch

    def add(self, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
        """Number the entries and return them."""
        first = len(self.entries)
        self.entries += entries
        for entry, event_id in zip(entries, event_ids(self.id, len(self.entries))[first:], strict=True):
            entry.id, entry.received_at = event_id, self.received_at
        return self.entries[first:]

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of the batch's row that do not depend on the ledger."""
        return {
            "id": self.id,
            "last_event_id": last_event_id(self.id),
            "credential_id": self.credential_id,
            "format": self.format,
            "received_at": self.received_at,
            "rejected": self.rejected,
        }


class PricesChangedError(Exception):
    """The prices have changed since the events were priced; nothing was written."""


def append_batches(
    *, organization_id: int, batches: Sequence[NewBatch], price_revisions: PriceRevisions, is_patient: bool
) -> Refused:
    """Write batches without session summaries. Raises PricesChangedError and, unless `is_patient`, OperationalError if
    another transaction holds a lock."""
    entries = [entry for batch in batches for entry in batch.entries]
    parameters = [
        organization_id,
        None if price_revisions is None else _array(map(str, price_revisions)),
        _json([batch.columns for batch in batches]),
        _parents(entries),
        *_events(organization_id, entries),
    ]
    with connection.cursor() as cursor:
        execute_together(cursor, *(() if is_patient else (_SHORT_TIMEOUT,)), (_APPEND, parameters))
        refused = {event_id: Refusal(*refusal) for event_id, *refusal in cursor.fetchall()}
    if None in refused:
        raise PricesChangedError
    return refused


def check_prices(organization_id: int, price_revisions: PriceRevisions) -> None:
    """Raise PricesChangedError if the revisions of the prices have changed."""
    if price_revisions is not None and fetch_rows(_REVISIONS, [organization_id]) != [(list(price_revisions),)]:
        raise PricesChangedError


@dataclass(slots=True)
class Written:
    """The results of `write_events`, with one element per event, and the events that were not written."""

    ids: list[UUID] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    workflow_ids: list[str] = field(default_factory=list)
    authorization_ids: list[UUID | None] = field(default_factory=list)
    costs_usd: list[Decimal] = field(default_factory=list)
    unpriced: list[int] = field(default_factory=list)
    refused_ids: list[UUID] = field(default_factory=list)
    refused_are_same: list[bool] = field(default_factory=list)
    matched_ids: list[UUID] = field(default_factory=list)
    matched_are_same: list[bool | None] = field(default_factory=list)
    matched_event_ids: list[UUID] = field(default_factory=list)

    @property
    def refused(self) -> Refused:
        refused = zip(self.refused_ids, map(Refusal, self.refused_are_same), strict=True)
        matched = zip(self.matched_ids, map(Refusal, self.matched_are_same, self.matched_event_ids), strict=True)
        return {**dict(refused), **dict(matched)}


def write_events(written: Written, *, organization_id: int, entries: Sequence[LedgerEntry]) -> None:
    """Write events of a batch that `complete_batch` will complete, and add the results to `written`."""
    if not entries:
        return
    (row,) = fetch_rows(_WRITE, [organization_id, *_events(organization_id, entries)])
    for column, values in zip(fields(written), row, strict=True):
        getattr(written, column.name).extend(values or ())


def complete_batch(written: Written, *, organization_id: int, batch: NewBatch) -> None:
    """Write the runs, authorizations and unpriced events of a batch, and its row."""
    values = [getattr(written, column.name) for column in fields(written) if not column.name.startswith("matched_")]
    fetch_rows(_COMPLETE, [organization_id, _json([batch.columns]), _parents(batch.entries), *values])


def _events(organization_id: int, entries: Sequence[LedgerEntry]) -> list[str | None]:
    """Return the parameters of both functions: defaults, events, the ids, keys and hashes of events with a key, and
    the calls that events name."""
    keyed = [entry for entry in entries if entry.key is not None]
    calls = [entry for entry in entries if entry.call_keys]
    return [
        _json({**_DEFAULTS, "organization_id": organization_id}),
        _json(entries),
        _array([entry.id.hex for entry in keyed if entry.id is not None]),
        _array([entry.key for entry in keyed if entry.key is not None]),
        _array([str(entry.payload_hash) for entry in keyed]),
        _json(_named_calls(calls)) if calls else None,
    ]


def _named_calls(entries: Iterable[LedgerEntry]) -> dict[str, Any]:
    """Return the calls that entries name, as they are compared with those of other sources (0078_match_calls.sql):
    arrays with an element for each key."""
    rows = [
        (
            entry.id.hex if entry.id is not None else "",
            key,
            entry.source,
            entry.call_provider,
            entry.call_model,
            entry.may_repeat_calls,
            entry.input_tokens or 0,
            (entry.cache_read_tokens or 0) + (entry.cache_creation_tokens or 0),
            entry.output_tokens or 0,
            entry.reasoning_tokens or 0,
        )
        for entry in entries
        for key in entry.call_keys or ()
    ]
    ids, keys, sources, providers, models, may_repeat_calls, *counts = map(list, zip(*rows, strict=True))
    names = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    return {
        "ids": _array(ids),
        "keys": _array(keys),
        "sources": sources,
        "providers": providers,
        "models": models,
        "may_repeat_calls": may_repeat_calls,
        **{name: _number_array(numbers) for name, numbers in zip(names, counts, strict=True)},
    }


def _parents(entries: Iterable[LedgerEntry]) -> str:
    return _json({str(entry.id): parent for entry in entries if (parent := entry.parent_run_id)})


def _json(value: Any) -> str:
    return _encode(value).decode()


def _array(values: Iterable[str]) -> str:
    """Return a PostgreSQL array literal for values that need no quotes. Several times faster than psycopg."""
    return "{" + ",".join(values) + "}"


def _number_array(numbers: list[int]) -> str:
    """Return a PostgreSQL array literal. JSON differs from it in the brackets only, and takes no loop."""
    return "{" + _json(numbers)[1:-1] + "}"


def _defaults() -> dict[str, Any]:
    """Return the values of the columns that an encoded entry omits: the defaults of the entry or of the table."""
    concrete = UsageEvent._meta.concrete_fields  # noqa: SLF001 - documented for this
    columns = {field.column: field for field in concrete if field.column}
    defaults = {name: field.db_default for name, field in columns.items() if field.db_default is not NOT_PROVIDED}
    defaults |= {
        field.name: field.default
        for field in msgspec.structs.fields(LedgerEntry)
        if field.name in columns and field.default not in (None, msgspec.NODEFAULT)
    }
    return {name: getattr(value, "value", value) for name, value in defaults.items()}


_DEFAULTS = _defaults()
