"""Append batches of events to the ledger (docs/decisions/015-batches.md)."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import IntegrityError, connection
from psycopg import errors as postgres

from billing.ledger.group_commit import GroupCommit
from billing.ledger.partitions import ensure_month
from billing.ledger.session_summaries import lock_pending_summaries, lock_session, mark_priced_by_summary, to_difference
from billing.ledger.types import Appended, LedgerEntry, Outcome, Refusal
from billing.ledger.write import (
    NewBatch,
    PriceRevisions,
    Refused,
    Written,
    append_batches,
    check_prices,
    complete_batch,
    write_events,
)
from billing.models import IngestBatch
from billing.types import EventKind
from costtrack.ids import MAX_EVENTS_PER_BATCH
from costtrack.jobs import enqueue_throttled_on_commit
from costtrack.tenancy import tenant_reads, tenant_scope
from organizations.credential_check import CredentialCheck, make_with_next_statement

_SUMMARY = EventKind.SESSION_SUMMARY.value
_FOLD_INTERVAL = timedelta(milliseconds=400)
# Batches of up to 50 events are committed together with others of their organization, up to 64 batches at once.
_MAX_SMALL, _MAX_TOGETHER = 50, 64


def append(
    *,
    organization_id: int,
    credential_id: int | None,
    format: str,  # noqa: A002 - named like the model field
    entries: Sequence[LedgerEntry],
    rejected: int,
    now: datetime,
    price_revisions: PriceRevisions = None,
    credential_check: CredentialCheck | None = None,
) -> Appended:
    """Write the new entries as one batch; durable when it returns. At most 65,535 entries.

    An entry whose key is already in the ledger (or earlier in the batch) is a duplicate, or a conflict if its payload
    differs. Session summaries are converted to differences here, while their session is locked.

    Raises PricesChangedError and writes nothing if the revisions of the prices have changed, and likewise
    CredentialChangedError if the credential has.
    """
    batch = NewBatch.of(
        entries,
        credential_id=credential_id,
        credential_check=credential_check,
        format=format,
        rejected=rejected,
        received_at=now,
    )
    if any(entry.kind == _SUMMARY for entry in entries):
        write = partial(_write_with_summaries, organization_id, batch, price_revisions)
        refused = _with_partitions(write, [now])
    elif len(entries) > _MAX_SMALL or connection.in_atomic_block:
        refused = _store((organization_id, price_revisions), [batch])
    else:
        refused = _small_batches.submit((organization_id, price_revisions), batch)
    refusals = [refused.get(entry.id) if entry.id is not None else None for entry in entries]
    return Appended(
        batch.id,
        list(map(_outcome, refusals)),
        {
            position: refusal.same_call_id
            for position, refusal in enumerate(refusals)
            if refusal is not None and refusal.same_call_id is not None and refusal.is_same
        },
        {
            position: refusal.same_call_id
            for position, refusal in enumerate(refusals)
            if refusal is not None and refusal.same_call_id is not None and refusal.is_same is None
        },
    )


def _outcome(refusal: Refusal | None) -> Outcome:
    if refusal is None or refusal.is_same is None:
        return Outcome.ACCEPTED
    return Outcome.DUPLICATE if refusal.is_same else Outcome.CONFLICT


_Key = tuple[int, PriceRevisions]
"""Batches of one organization that were priced with the same revisions."""


def _store(key: _Key, batches: Sequence[NewBatch], *, is_patient: bool = True) -> Refused:
    """Write batches without summaries in one transaction.

    Unless `is_patient`, raises OperationalError if another transaction has locked one of their events.
    """
    organization_id, price_revisions = key

    def write() -> Refused:
        checks = [batch.credential_check for batch in batches]
        with tenant_reads(organization_id), make_with_next_statement(checks):
            return append_batches(
                organization_id=organization_id,
                batches=batches,
                price_revisions=price_revisions,
                is_patient=is_patient,
            )

    return _with_partitions(write, {batch.received_at for batch in batches})


def _with_partitions(write: Callable[[], Refused], received_at: Collection[datetime]) -> Refused:
    """Write. If partitions for these months are missing, create them and write again."""
    try:
        refused = write()
    except IntegrityError as error:
        if not _lacks_partition(error):
            raise
        for instant in received_at:
            ensure_month(instant)
        refused = write()
    enqueue_throttled_on_commit("billing.fold", interval=_FOLD_INTERVAL)
    return refused


def _lacks_partition(error: IntegrityError) -> bool:
    """Whether the month's partition is missing. (Check constraints of columns have names.)"""
    cause = error.__cause__
    return isinstance(cause, postgres.CheckViolation) and cause.diag.constraint_name is None


def _write_with_summaries(organization_id: int, batch: NewBatch, price_revisions: PriceRevisions) -> Refused:
    """Write a batch in several steps: first its other events, because the sums of a session include them, then the
    summaries one by one, ordered by session, which is the lock order."""
    firsts, repeated = _by_first_of_each_key(batch.entries)
    events = [entry for entry in firsts if entry.kind != _SUMMARY]
    summaries = [entry for entry in firsts if entry.kind == _SUMMARY]
    written = Written()
    if batch.credential_check is not None:
        batch.credential_check.make()
    with tenant_scope(organization_id):
        check_prices(organization_id, price_revisions)
        write_events(written, organization_id=organization_id, entries=events)
        # The sums of a session include events of unfolded batches only, so the row of the batch must exist.
        IngestBatch(organization_id=organization_id, **batch.columns).save(force_insert=True)
        for summary in sorted(summaries, key=lambda entry: entry.session_id or ""):
            _write_summary(written, organization_id, batch, summary)
        write_events(written, organization_id=organization_id, entries=repeated)
        complete_batch(written, organization_id=organization_id, batch=batch)
    return written.refused


def _write_summary(written: Written, organization_id: int, batch: NewBatch, summary: LedgerEntry) -> None:
    lock_session(organization_id, summary)
    unpriced_events = lock_pending_summaries(organization_id, summary, MAX_EVENTS_PER_BATCH - len(batch.entries))
    difference = to_difference(organization_id, summary)
    write_events(written, organization_id=organization_id, entries=[difference])
    if summary.id not in written.refused_ids:
        priced = batch.add(mark_priced_by_summary(organization_id, unpriced_events))
        write_events(written, organization_id=organization_id, entries=priced)


def _by_first_of_each_key(entries: Sequence[LedgerEntry]) -> tuple[list[LedgerEntry], list[LedgerEntry]]:
    """Split the entries into those without a key and the first of each key, and the others."""
    seen: set[str] = set()
    firsts: list[LedgerEntry] = []
    repeated: list[LedgerEntry] = []
    for entry in entries:
        (repeated if entry.key in seen else firsts).append(entry)
        if entry.key is not None:
            seen.add(entry.key)
    return firsts, repeated


_small_batches: GroupCommit[_Key, NewBatch, Refused] = GroupCommit(
    partial(_store, is_patient=False), lambda key, batch: _store(key, [batch]), max_items=_MAX_TOGETHER
)
