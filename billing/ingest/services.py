"""Intake: price parsed events and append them to the ledger. Every format ends here."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain, islice, starmap
from typing import Annotated
from uuid import UUID

from django.db import OperationalError, transaction
from msgspec import UNSET, Meta, Struct, UnsetType
from psycopg import errors as postgres

from billing.ingest.authorized import AuthorizedCall, authorized_calls
from billing.ingest.coverage import record_arrivals
from billing.ingest.ledger_entries import to_entry
from billing.ingest.same_calls import complete_events
from billing.ingest.types import ParsedBatch, ParsedEvent, RecordError, RecordWarning
from billing.ledger.append import append
from billing.ledger.types import Appended, LedgerEntry, Outcome
from billing.ledger.write import PriceRevisions, PricesChangedError
from billing.pricing.price_book import PriceBook, price_book, unconfirmed_price_book
from billing.types import POSSIBLE_DUPLICATE_FLAG, UnpricedReason
from costtrack.metrics.instruments import EVENTS, FLAGGED, INGEST_SECONDS, UNPRICED
from costtrack.money import MAX_AMOUNT_USD, ZERO, plain
from organizations.models import APICredential, Organization

logger = logging.getLogger(__name__)

_ATTEMPTS = 5
MAX_WARNINGS = 1_000


class IngestResult(Struct, frozen=True, kw_only=True):
    """The outcome of each record, as the endpoints answer it. Accepted records and duplicates are durable when the
    response is sent."""

    batch_id: UUID | None = None
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    unpriced: Annotated[int, Meta(description="Accepted records whose cost is unknown.")] = 0
    flagged: Annotated[int, Meta(description="Accepted records with a flag; `warnings` say why.")] = 0
    id_prefix: Annotated[
        str | UnsetType,
        Meta(description="With an Idempotency-Key: records without an id have this id, followed by their index."),
    ] = UNSET
    cost_usd: Annotated[
        str | UnsetType, Meta(description="In a dry run: what the accepted records would cost, as far as known.")
    ] = UNSET
    unpriced_models: Annotated[
        list[str] | UnsetType, Meta(description="In a dry run: the models of accepted records whose cost is unknown.")
    ] = UNSET
    errors: list[RecordError] = []
    warnings: Annotated[
        list[RecordWarning], Meta(description=f"What is not known about accepted records, at most {MAX_WARNINGS:,}.")
    ] = []

    @property
    def is_complete(self) -> bool:
        """Whether every record is in the ledger now."""
        return not self.conflicts and not self.rejected

    @property
    def is_useless(self) -> bool:
        """Whether there were records and none of them is in the ledger."""
        return not self.is_complete and not self.accepted and not self.duplicates


def ingest(
    *,
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002 - named like the model field
    parsed: ParsedBatch,
    now: datetime,
    id_prefix: str | None = None,
) -> IngestResult:
    """Price and store the readable events; durable when it returns. Invalid records do not affect valid ones.

    With an `id_prefix`, an event without an id gets the prefix and its index as id, so a repeated event is a duplicate.
    """
    with INGEST_SECONDS.time():
        result = _ingest(organization, credential, format, parsed, now, id_prefix)
    _count(format, result)
    return result


def _count(format: str, result: IngestResult) -> None:  # noqa: A002
    """Add the outcome of a batch to the metrics."""
    outcomes = {
        "accepted": result.accepted,
        "duplicate": result.duplicates,
        "conflict": result.conflicts,
        "rejected": result.rejected,
    }
    for outcome, number in outcomes.items():
        if number:
            EVENTS.labels(format, outcome).inc(number)
    if result.unpriced:
        UNPRICED.labels(format).inc(result.unpriced)
    if result.flagged:
        FLAGGED.labels(format).inc(result.flagged)


def _ingest(
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002
    parsed: ParsedBatch,
    now: datetime,
    id_prefix: str | None,
) -> IngestResult:
    if id_prefix is not None:
        for parsed_event in parsed.events:
            parsed_event.event.id = parsed_event.event.id or f"{id_prefix}{parsed_event.index}"
    priced, appended = _price_and_append(organization, credential, format, parsed, now)
    if appended is None:
        return IngestResult(rejected=len(priced.errors), errors=priced.errors, id_prefix=id_prefix or UNSET)
    conflicts = list(_conflicts(appended, priced.parsed_events))
    for position, event_id in appended.possible_duplicates.items():
        entry = priced.entries[position]
        entry.flags = [*(entry.flags or ()), {"code": POSSIBLE_DUPLICATE_FLAG, "detail": str(event_id)}]
    if appended.same_calls:
        reports = [
            (event_id, priced.parsed_events[position], priced.entries[position])
            for position, event_id in appended.same_calls.items()
        ]
        complete_events(organization, reports, now)
    record_arrivals(organization=organization, events=priced.parsed_events, appended=appended, now=now)
    uncertain = [
        (parsed, entry)
        for parsed, entry, outcome in zip(priced.parsed_events, priced.entries, appended.outcomes, strict=True)
        if outcome is Outcome.ACCEPTED and (entry.unpriced or entry.flags)
    ]
    logger.info(
        "events stored",
        extra={"batch": str(appended.batch_id), "format": format, "accepted": appended.count(Outcome.ACCEPTED)},
    )
    return IngestResult(
        batch_id=appended.batch_id,
        accepted=appended.count(Outcome.ACCEPTED),
        duplicates=appended.count(Outcome.DUPLICATE),
        conflicts=len(conflicts),
        rejected=len(priced.errors),
        unpriced=sum(entry.unpriced for _, entry in uncertain),
        flagged=sum(bool(entry.flags) for _, entry in uncertain),
        id_prefix=id_prefix or UNSET,
        errors=sorted([*priced.errors, *conflicts], key=lambda error: error.index),
        warnings=list(islice(chain.from_iterable(starmap(_warnings, uncertain)), MAX_WARNINGS)),
    )


def dry_run(
    *,
    organization: Organization,
    credential: APICredential | None,
    parsed: ParsedBatch,
    now: datetime,
) -> IngestResult:
    """Return what `ingest` would store, and store nothing: the statement that writes is rolled back."""
    with transaction.atomic():
        priced, appended = _price_and_append(organization, credential, "json", parsed, now)
        transaction.set_rollback(True)
    if appended is None:
        return IngestResult(rejected=len(priced.errors), errors=priced.errors, cost_usd=plain(ZERO), unpriced_models=[])
    accepted = [
        entry for entry, outcome in zip(priced.entries, appended.outcomes, strict=True) if outcome is Outcome.ACCEPTED
    ]
    conflicts = list(_conflicts(appended, priced.parsed_events))
    unpriced = [entry for entry in accepted if entry.unpriced]
    return IngestResult(
        accepted=len(accepted),
        duplicates=appended.count(Outcome.DUPLICATE),
        conflicts=len(conflicts),
        rejected=len(priced.errors),
        unpriced=len(unpriced),
        flagged=sum(bool(entry.flags) for entry in accepted),
        cost_usd=plain(sum((entry.known_cost_usd for entry in accepted), ZERO)),
        unpriced_models=sorted({entry.sent_model or entry.model or "" for entry in unpriced}),
        errors=sorted([*priced.errors, *conflicts], key=lambda error: error.index),
    )


def _warnings(parsed: ParsedEvent, entry: LedgerEntry) -> Iterable[RecordWarning]:
    index, event_id = parsed.index, parsed.event.id
    if entry.unpriced:
        reason = UnpricedReason(entry.unpriced_reason)
        detail = f": {parsed.reading.detail.rstrip('.')}" if parsed.reading and parsed.reading.detail else ""
        yield RecordWarning(index=index, id=event_id, code=reason.value, message=f"{reason.label}{detail}.")
    for flag in entry.flags or ():
        yield RecordWarning(index=index, id=event_id, code=flag["code"], message=flag["detail"])


@dataclass(frozen=True, slots=True)
class _Priced:
    """The entries with the events they came from, and the errors of all other records in order.

    `has_too_costly`: some of these would cost more than the column holds.
    """

    entries: list[LedgerEntry]
    parsed_events: list[ParsedEvent]
    errors: list[RecordError]
    has_too_costly: bool


def _price_and_append(
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002
    parsed: ParsedBatch,
    now: datetime,
) -> tuple[_Priced, Appended | None]:
    """Price and append the events; None if there is nothing to append.

    The prices are those that this process has read last. Whether they are current is known from the statement that
    writes, so that it takes no query; if they are not, nothing is written, and the events are priced again.
    """
    if organization.ignores_user_case:
        for parsed_event in parsed.events:
            event = parsed_event.event
            event.user_id = organization.user_name(event.user_id or "") or None
    append_priced = partial(_append_with_retries, organization, credential, format, now)
    authorized = authorized_calls(organization, (parsed_event.event for parsed_event in parsed.events))
    price = partial(_price, parsed, credential, authorized, now=now)
    prices = unconfirmed_price_book(organization.pk)
    priced = price(prices)
    if priced.entries and not priced.has_too_costly:
        try:
            return priced, append_priced(priced, prices.revisions)
        except PricesChangedError:
            pass
    if priced.entries or priced.has_too_costly:
        priced = price(price_book(organization.pk))
    return priced, append_priced(priced, None) if priced.entries else None


def _price(
    parsed_batch: ParsedBatch,
    credential: APICredential | None,
    authorized: Mapping[UUID, AuthorizedCall],
    prices: PriceBook,
    *,
    now: datetime,
) -> _Priced:
    credential_id, environment = (credential.pk, credential.environment) if credential is not None else (None, "")
    entries: list[LedgerEntry] = []
    parsed_events: list[ParsedEvent] = []
    too_costly: list[RecordError] = []
    for parsed in parsed_batch.events:
        authorization_id = parsed.event.authorization_id
        call = authorized.get(authorization_id) if authorization_id is not None else None
        entry = to_entry(
            parsed,
            prices=prices,
            now=now,
            credential_id=credential_id,
            environment=environment,
            authorized=call,
        )
        if entry.known_cost_usd > MAX_AMOUNT_USD or (entry.computed_cost_usd or 0) > MAX_AMOUNT_USD:
            message = f"At the price of {entry.model} this event would cost more than {MAX_AMOUNT_USD} USD."
            too_costly.append(
                RecordError(index=parsed.index, id=parsed.event.id, code="cost_out_of_range", message=message)
            )
        else:
            entries.append(entry)
            parsed_events.append(parsed)
    errors = sorted([*parsed_batch.errors, *too_costly], key=lambda error: error.index)
    return _Priced(entries, parsed_events, errors, bool(too_costly))


def _append_with_retries(
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002
    now: datetime,
    priced: _Priced,
    price_revisions: PriceRevisions,
) -> Appended:
    """Append the batch; retry it after a deadlock.

    Two transactions can deadlock if they share event ids across different sessions. PostgreSQL aborts one of them.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return append(
                organization_id=organization.pk,
                credential_id=credential.pk if credential is not None else None,
                credential_check=credential.pending_check if credential is not None else None,
                format=format,
                entries=priced.entries,
                rejected=len(priced.errors),
                now=now,
                price_revisions=price_revisions,
            )
        except OperationalError as error:
            if not isinstance(error.__cause__, postgres.DeadlockDetected) or attempt == _ATTEMPTS - 1:
                raise
            logger.warning("batch retried after a deadlock", extra={"attempt": attempt + 1})
    raise AssertionError("unreachable")  # pragma: no cover


def _conflicts(appended: Appended, parsed_events: list[ParsedEvent]) -> Iterable[RecordError]:
    for parsed, outcome in zip(parsed_events, appended.outcomes, strict=True):
        if outcome is Outcome.CONFLICT:
            yield RecordError(
                index=parsed.index,
                id=parsed.event.id,
                field="id",
                code="conflict",
                message="An event with this source and id but other content is already in the ledger.",
            )
