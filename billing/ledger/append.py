"""The one way into the ledger: a batch and its events in one transaction (docs/decisions/015-batches.md)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError
from psycopg import errors as postgres

from billing.ledger import staging
from billing.ledger.partitions import ensure_month
from billing.ledger.runs import upsert_runs
from billing.ledger.session_summaries import as_difference, lock_pending_summaries, lock_session, priced_by_summary
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
    format: str,  # noqa: A002 - the word of the model
    entries: Sequence[LedgerEntry],
    rejected: int,
    now: datetime,
) -> Appended:
    """Write the entries that are new as one batch; durable when it returns. At most 65,535 entries.

    An entry whose key was counted before (or came earlier in the same batch) is a duplicate, or a conflict if its
    payload differs. Session summaries are turned into differences here, where nothing can come between.
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
    """The first event of a month, where nobody has prepared it. (Checks of columns have names.)"""
    cause = error.__cause__
    return isinstance(cause, postgres.CheckViolation) and cause.diag.constraint_name is None


class _Batch:
    """The state of one `append`: entries by their place, their ids, and what became of them."""

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
            self._write([place for place in self._to_try if not self._is_summary(place)])
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
            self._settle()
            accepted = self._accepted()
            upsert_runs(self.organization_id, accepted, self.now)
            settle(organization_id=self.organization_id, entries=accepted, now=self.now)
            self._complete(header, accepted)
        enqueue_throttled_on_commit("billing.fold", at_most_every=_FOLD_INTERVAL)

    def _write(self, places: Sequence[int]) -> None:
        """Insert these entries; of those whose key was there already, remember the payload that is."""
        if not places:
            return
        self._tried.update(places)
        present = staging.write(
            organization_id=self.organization_id,
            received_at=self.now,
            ids=[self.ids[place] for place in places],
            entries=[self.entries[place] for place in places],
        )
        self._present.update(present)

    def _write_summaries(self, header: IngestBatch) -> None:
        """One by one, by session: sessions are locked in this one order. What a session adds up to is read with what
        this batch has written so far, so the batch itself must be there."""
        summaries = [place for place in self._to_try if self._is_summary(place)]
        if summaries:
            header.save(force_insert=True)
        for place in sorted(summaries, key=lambda place: self.entries[place].session_id or ""):
            summary = self.entries[place]
            lock_session(self.organization_id, summary)
            waiting = lock_pending_summaries(self.organization_id, summary, MAX_EVENTS_PER_BATCH - len(self.entries))
            self.entries[place] = as_difference(self.organization_id, summary)
            self._write([place])
            if self._is_new(place):
                self._write(self._add(priced_by_summary(self.organization_id, waiting)))

    def _add(self, entries: Sequence[LedgerEntry]) -> list[int]:
        """Take in entries of our own; answers their places."""
        first = len(self.entries)
        self.entries += entries
        self.ids = event_ids(self.id, len(self.entries))
        self.outcomes += [Outcome.ACCEPTED] * len(entries)
        return list(range(first, len(self.entries)))

    def _settle(self) -> None:
        """Decide what became of each entry: new, or a repetition of what was counted under its key."""
        if len(self._tried) == len(self.entries) and not self._present:
            return
        hashes = {entry.key: entry.payload_hash for entry in reversed(self.entries) if entry.key is not None}
        hashes.update(self._present)
        for place, entry in enumerate(self.entries):
            if entry.key is None or self._is_new(place):
                continue
            same = entry.payload_hash == hashes[entry.key]
            self.outcomes[place] = Outcome.DUPLICATE if same else Outcome.CONFLICT

    def _accepted(self) -> list[LedgerEntry]:
        if Outcome.DUPLICATE not in self.outcomes and Outcome.CONFLICT not in self.outcomes:
            return self.entries
        return [
            entry for entry, outcome in zip(self.entries, self.outcomes, strict=True) if outcome is Outcome.ACCEPTED
        ]

    def _queue_unpriced(self) -> None:
        """Before summaries, which price what waits of their session."""
        waiting = [place for place in sorted(self._tried) if self.entries[place].unpriced > 0 and self._is_new(place)]
        if not waiting:
            return
        UnpricedEvent.objects.bulk_create(
            UnpricedEvent(
                event_id=self.ids[place],
                organization_id=self.organization_id,
                service=self.entries[place].service or "",
                model=self.entries[place].model or "",
                occurred_at=self.entries[place].occurred_at,
                reason=self.entries[place].unpriced_reason,
            )
            for place in waiting
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

    def _is_new(self, place: int) -> bool:
        """Whether the entry was written. (One without a key always is.)"""
        return place in self._tried and self.entries[place].key not in self._present

    def _is_summary(self, place: int) -> bool:
        return self.entries[place].kind == _SUMMARY

    def _first_of_each_key(self) -> list[int]:
        """Every entry without a key, and the first of those that share one."""
        seen: dict[UUID, int] = {}
        return [
            place
            for place, entry in enumerate(self.entries)
            if entry.key is None or seen.setdefault(entry.key, place) == place
        ]
