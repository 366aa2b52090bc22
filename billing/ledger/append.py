"""Append a batch and its events to the ledger in one transaction (docs/decisions/015-batches.md)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError
from psycopg import errors as postgres

from billing.ledger import staging
from billing.ledger.partitions import ensure_month
from billing.ledger.runs import upsert_runs
from billing.ledger.session_summaries import lock_pending_summaries, lock_session, mark_priced_by_summary, to_difference
from billing.ledger.settle_authorizations import settle
from billing.ledger.types import Appended, LedgerEntry, Outcome
from billing.models import IngestBatch, UnpricedEvent
from billing.types import EventKind
from costtrack.ids import MAX_EVENTS_PER_BATCH, event_ids, last_event_id, new_batch_id
from costtrack.jobs import enqueue_throttled_on_commit
from costtrack.money import ZERO
from costtrack.tenancy import tenant_scope

_SUMMARY = EventKind.SESSION_SUMMARY.value
_FOLD_INTERVAL = timedelta(milliseconds=400)


def append(
    *,
    organization_id: int,
    credential_id: int | None,
    format: str,  # noqa: A002 - named like the model field
    entries: Sequence[LedgerEntry],
    rejected: int,
    now: datetime,
) -> Appended:
    """Write the new entries as one batch; durable when it returns. At most 65,535 entries.

    An entry whose key is already in the ledger (or earlier in the batch) is a duplicate, or a conflict if its payload
    differs. Session summaries are converted to differences here, while their session is locked.
    """
    batch = _Batch(organization_id, entries, now)
    try:
        batch.store(credential_id, format, rejected)
    except IntegrityError as error:
        if not _lacks_partition(error):
            raise
        ensure_month(now)
        batch = _Batch(organization_id, entries, now)
        batch.store(credential_id, format, rejected)
    return Appended(batch.id, batch.outcomes[: len(entries)])


def _lacks_partition(error: IntegrityError) -> bool:
    """Whether the month's partition is missing. (Check constraints of columns have names.)"""
    cause = error.__cause__
    return isinstance(cause, postgres.CheckViolation) and cause.diag.constraint_name is None


class _Batch:
    """The state of one `append`: entries, their ids and their outcomes, by index."""

    def __init__(self, organization_id: int, entries: Sequence[LedgerEntry], now: datetime) -> None:
        self.organization_id = organization_id
        self.entries = list(entries)
        self.now = now
        self.id = new_batch_id(now)
        self.ids = event_ids(self.id, len(entries))
        self.outcomes = [Outcome.ACCEPTED] * len(entries)
        self._to_try = self._first_of_each_key()
        self._tried: set[int] = set()
        self._present: dict[UUID, int] = {}

    def store(self, credential_id: int | None, format: str, rejected: int) -> None:  # noqa: A002
        with tenant_scope(self.organization_id):
            staging.prepare_staging()
            self._write([index for index in self._to_try if not self._is_summary(index)])
            header = IngestBatch(
                id=self.id,
                last_event_id=last_event_id(self.id),
                organization_id=self.organization_id,
                credential_id=credential_id,
                format=format,
                received_at=self.now,
                rejected=rejected,
            )
            self._queue_unpriced()
            self._write_summaries(header)
            self._set_outcomes()
            accepted = self._accepted()
            upsert_runs(self.organization_id, accepted, self.now)
            settle(organization_id=self.organization_id, entries=accepted, now=self.now)
            self._complete(header, accepted)
        enqueue_throttled_on_commit("billing.fold", interval=_FOLD_INTERVAL)

    def _write(self, indexes: Sequence[int]) -> None:
        """Insert these entries, and record the stored payload hashes of keys that already existed."""
        if not indexes:
            return
        self._tried.update(indexes)
        present = staging.write(
            organization_id=self.organization_id,
            received_at=self.now,
            ids=[self.ids[index] for index in indexes],
            entries=[self.entries[index] for index in indexes],
        )
        self._present.update(present)

    def _write_summaries(self, header: IngestBatch) -> None:
        """Write summaries one by one, ordered by session, which is the lock order.

        The sums of a session include what this batch has written so far, so the batch row must exist.
        """
        summaries = [index for index in self._to_try if self._is_summary(index)]
        if summaries:
            header.save(force_insert=True)
        for index in sorted(summaries, key=lambda index: self.entries[index].session_id or ""):
            summary = self.entries[index]
            lock_session(self.organization_id, summary)
            unpriced_events = lock_pending_summaries(
                self.organization_id, summary, MAX_EVENTS_PER_BATCH - len(self.entries)
            )
            self.entries[index] = to_difference(self.organization_id, summary)
            self._write([index])
            if self._is_new(index):
                self._write(self._add(mark_priced_by_summary(self.organization_id, unpriced_events)))

    def _add(self, entries: Sequence[LedgerEntry]) -> list[int]:
        """Add generated entries and return their indexes."""
        first = len(self.entries)
        self.entries += entries
        self.ids = event_ids(self.id, len(self.entries))
        self.outcomes += [Outcome.ACCEPTED] * len(entries)
        return list(range(first, len(self.entries)))

    def _set_outcomes(self) -> None:
        """Set the outcomes of entries whose key already existed: duplicate or conflict."""
        if len(self._tried) == len(self.entries) and not self._present:
            return
        hashes = {entry.key: entry.payload_hash for entry in reversed(self.entries) if entry.key is not None}
        hashes.update(self._present)
        for index, entry in enumerate(self.entries):
            if entry.key is None or self._is_new(index):
                continue
            same = entry.payload_hash == hashes[entry.key]
            self.outcomes[index] = Outcome.DUPLICATE if same else Outcome.CONFLICT

    def _accepted(self) -> list[LedgerEntry]:
        if Outcome.DUPLICATE not in self.outcomes and Outcome.CONFLICT not in self.outcomes:
            return self.entries
        return [
            entry for entry, outcome in zip(self.entries, self.outcomes, strict=True) if outcome is Outcome.ACCEPTED
        ]

    def _queue_unpriced(self) -> None:
        """Queue unpriced events. Runs before summaries, which price the queued events of their session."""
        unpriced_events = [
            index for index in sorted(self._tried) if self.entries[index].unpriced > 0 and self._is_new(index)
        ]
        if not unpriced_events:
            return
        UnpricedEvent.objects.bulk_create(
            UnpricedEvent(
                event_id=self.ids[index],
                organization_id=self.organization_id,
                service=self.entries[index].service or "",
                model=self.entries[index].model or "",
                occurred_at=self.entries[index].occurred_at,
                reason=self.entries[index].unpriced_reason,
            )
            for index in unpriced_events
        )

    def _complete(self, header: IngestBatch, accepted: Sequence[LedgerEntry]) -> None:
        header.accepted = len(accepted)
        header.duplicates = self.outcomes.count(Outcome.DUPLICATE)
        header.conflicts = self.outcomes.count(Outcome.CONFLICT)
        header.unpriced = sum(entry.unpriced > 0 for entry in accepted)
        header.cost_usd = sum((entry.known_cost_usd for entry in accepted), ZERO)
        # A batch without new events has nothing to fold.
        header.folded_at = None if accepted else self.now
        header.save(force_insert=header._state.adding, force_update=not header._state.adding)  # noqa: SLF001

    def _is_new(self, index: int) -> bool:
        """Whether the entry was written. (An entry without a key always is.)"""
        return index in self._tried and self.entries[index].key not in self._present

    def _is_summary(self, index: int) -> bool:
        return self.entries[index].kind == _SUMMARY

    def _first_of_each_key(self) -> list[int]:
        """Return the indexes of entries without a key, and of the first entry of each key."""
        seen: dict[UUID, int] = {}
        return [
            index
            for index, entry in enumerate(self.entries)
            if entry.key is None or seen.setdefault(entry.key, index) == index
        ]
