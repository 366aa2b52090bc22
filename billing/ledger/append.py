"""The one way into the ledger: a batch and its events in one transaction (design decision 7).

The entries are copied into a staging table of the connection, and one INSERT ... SELECT moves them into the ledger.
The unique key (organization, key) decides what is new. Rows are inserted in the order of their keys, so two
transactions that bring the same events wait for each other and cannot deadlock.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID
from zlib import crc32

from django.db import connection
from psycopg import sql
from psycopg.types.json import Jsonb

from billing.ledger.runs import upsert_runs
from billing.ledger.summaries import as_difference, forget_unpriced
from billing.ledger.types import ENTRY_COLUMNS, Appended, LedgerEntry, Outcome, entry_values
from billing.models import IngestBatch, UnpricedEvent
from billing.types import EventKind
from costtrack.ids import event_ids, new_batch_id
from costtrack.money import ZERO
from costtrack.tenancy import tenant_scope

_COLUMNS = ("id", "organization_id", "credential_id", "received_at", *ENTRY_COLUMNS)
_LEDGER = sql.Identifier("billing_usageevent")
# A pooler's connections outlive a deployment: a staging table of other columns has another name.
_STAGING = sql.Identifier(f"staged_usageevent_{crc32(','.join(_COLUMNS).encode()):08x}")
_COLUMN_LIST = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
_METADATA = ENTRY_COLUMNS.index("metadata")

_CREATE_STAGING = sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(
    _STAGING, _LEDGER
)
_COPY = sql.SQL("COPY {} ({}) FROM STDIN").format(_STAGING, _COLUMN_LIST)
# A transaction may bring several batches (and tests run in one), so each takes its own rows out of the staging.
_INSERT = sql.SQL(
    "INSERT INTO {ledger} ({columns}) SELECT {columns} FROM {staging} WHERE id > %s AND id <= %s ORDER BY key "
    "ON CONFLICT (organization_id, key) DO NOTHING"
).format(ledger=_LEDGER, staging=_STAGING, columns=_COLUMN_LIST)
_COLLISIONS = sql.SQL(
    "SELECT present.key, present.payload_hash FROM {staging} AS staged JOIN {ledger} AS present "
    "ON present.organization_id = staged.organization_id AND present.key = staged.key AND present.id <> staged.id "
    "WHERE staged.id > %s AND staged.id <= %s"
).format(ledger=_LEDGER, staging=_STAGING)


def append(
    *,
    organization_id: int,
    credential_id: int | None,
    format: str,  # noqa: A002 - the word of the model
    entries: Sequence[LedgerEntry],
    rejected: int,
    now: datetime,
) -> Appended:
    """Write the entries that are new as one batch; durable when it returns. At most 65,535 entries.

    An entry whose key is in the ledger already (or came earlier in the same batch) is a duplicate, or a conflict if
    its payload differs. Session summaries are turned into differences here, where nothing can come between.
    """
    batch = _Batch(organization_id, credential_id, entries, now)
    with tenant_scope(organization_id):
        with connection.cursor() as cursor:
            cursor.execute(_CREATE_STAGING)
        batch.write(batch.plain_places())
        for place in batch.summary_places():
            batch.write_summary(place)
        batch.settle()
        accepted = batch.accepted()
        upsert_runs(organization_id, accepted, now)
        batch.queue_unpriced()
        IngestBatch.objects.create(
            id=batch.id,
            organization_id=organization_id,
            credential_id=credential_id,
            format=format,
            received_at=now,
            accepted=len(accepted),
            duplicates=batch.outcomes.count(Outcome.DUPLICATE),
            conflicts=batch.outcomes.count(Outcome.CONFLICT),
            rejected=rejected,
            unpriced=sum(entry.token_cost_usd is None for entry in accepted),
            cost_usd=sum((entry.known_cost_usd for entry in accepted), ZERO),
            # A batch without new events has nothing to fold.
            folded_at=None if accepted else now,
        )
    return Appended(batch.id, batch.outcomes)


class _Batch:
    """The state of one `append`: entries by their place, their ids, and what became of them."""

    def __init__(
        self, organization_id: int, credential_id: int | None, entries: Sequence[LedgerEntry], now: datetime
    ) -> None:
        self.organization_id = organization_id
        self.credential_id = credential_id
        self.entries = list(entries)
        self.now = now
        self.id = new_batch_id(now)
        self.ids = event_ids(self.id, len(entries))
        self.outcomes = [Outcome.ACCEPTED] * len(entries)
        self._to_try = self._first_of_each_key()
        self._tried: set[int] = set()
        self._present: dict[UUID, int] = {}

    def plain_places(self) -> list[int]:
        """The places of all entries to try except summaries."""
        return [place for place in self._to_try if not self._is_summary(place)]

    def summary_places(self) -> list[int]:
        """The places of the summaries to try, by session: sessions are locked in this one order."""
        summaries = [place for place in self._to_try if self._is_summary(place)]
        return sorted(summaries, key=lambda place: self.entries[place].session_id)

    def write(self, places: Sequence[int]) -> None:
        """Stage and insert these entries; of those whose key was there already, remember the payload that is."""
        if not places:
            return
        below, last = UUID(int=self.ids[places[0]].int - 1), self.ids[places[-1]]
        self._tried.update(places)
        with connection.cursor() as cursor:
            with cursor.copy(_COPY) as copy:
                for place in places:
                    copy.write_row(self._row(place))
            cursor.execute(_INSERT, [below, last])
            if cursor.rowcount < len(places):
                cursor.execute(_COLLISIONS, [below, last])
                self._present.update(cursor.fetchall())

    def write_summary(self, place: int) -> None:
        self.entries[place] = as_difference(self.organization_id, self.entries[place])
        self.write([place])
        if self.entries[place].key not in self._present:
            forget_unpriced(self.organization_id, self.entries[place])

    def settle(self) -> None:
        """Decide what became of each entry: new, or a repetition of what the ledger holds under its key."""
        hashes = {entry.key: entry.payload_hash for entry in reversed(self.entries) if entry.key is not None}
        hashes.update(self._present)
        for place, entry in enumerate(self.entries):
            if entry.key is None or (place in self._tried and entry.key not in self._present):
                continue
            same = entry.payload_hash == hashes[entry.key]
            self.outcomes[place] = Outcome.DUPLICATE if same else Outcome.CONFLICT

    def accepted(self) -> list[LedgerEntry]:
        return [
            entry for entry, outcome in zip(self.entries, self.outcomes, strict=True) if outcome is Outcome.ACCEPTED
        ]

    def queue_unpriced(self) -> None:
        UnpricedEvent.objects.bulk_create(
            UnpricedEvent(
                event_id=event_id,
                organization_id=self.organization_id,
                service=entry.service,
                model=entry.model,
                occurred_at=entry.occurred_at,
                reason=entry.unpriced_reason,
            )
            for event_id, entry, outcome in zip(self.ids, self.entries, self.outcomes, strict=True)
            if outcome is Outcome.ACCEPTED and entry.token_cost_usd is None
        )

    def _is_summary(self, place: int) -> bool:
        return self.entries[place].kind == EventKind.SESSION_SUMMARY.value

    def _first_of_each_key(self) -> list[int]:
        """Every entry without a key, and the first of those that share one."""
        seen: set[UUID] = set()
        places = []
        for place, entry in enumerate(self.entries):
            if entry.key is None or entry.key not in seen:
                places.append(place)
            if entry.key is not None:
                seen.add(entry.key)
        return places

    def _row(self, place: int) -> tuple[object, ...]:
        values = entry_values(self.entries[place])
        metadata = values[_METADATA]
        if metadata is not None:
            values = (*values[:_METADATA], Jsonb(metadata), *values[_METADATA + 1 :])
        return (self.ids[place], self.organization_id, self.credential_id, self.now, *values)
