"""The one way in: parsed events are priced and appended to the ledger."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import OperationalError
from psycopg import errors as postgres

from billing.ingest.entries import to_entry
from billing.ingest.types import ParsedBatch, ParsedEvent, RecordError
from billing.ledger.append import append
from billing.ledger.types import Appended, LedgerEntry, Outcome
from billing.pricing.cache import price_book
from costtrack.money import LARGEST
from organizations.models import APICredential, Organization

logger = logging.getLogger(__name__)

_ATTEMPTS = 5


@dataclass(frozen=True)
class IngestResult:
    """What became of a request's records. `errors` names each rejected or conflicting one, by its place."""

    batch_id: UUID | None = None
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    errors: list[RecordError] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Everything is in the ledger now (or was before)."""
        return not self.conflicts and not self.rejected

    @property
    def is_useless(self) -> bool:
        """There were records, and not one of them is in the ledger."""
        return not self.is_complete and not self.accepted and not self.duplicates


def ingest(
    *,
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002 - the word of the model
    parsed: ParsedBatch,
    now: datetime,
) -> IngestResult:
    """Price and store the readable events; durable when it returns. Bad records do not stop good ones."""
    entries, places, errors = _priced(organization, credential, parsed.events, now)
    errors = sorted([*parsed.errors, *errors], key=lambda error: error.index)
    if not entries:
        return IngestResult(rejected=len(errors), errors=errors)
    appended = _append_with_retries(
        organization=organization,
        credential=credential,
        format=format,
        entries=entries,
        rejected=len(errors),
        now=now,
    )
    conflicts = list(_conflicts(appended, places))
    logger.info(
        "events stored",
        extra={"batch": str(appended.batch_id), "format": format, "accepted": appended.count(Outcome.ACCEPTED)},
    )
    return IngestResult(
        batch_id=appended.batch_id,
        accepted=appended.count(Outcome.ACCEPTED),
        duplicates=appended.count(Outcome.DUPLICATE),
        conflicts=len(conflicts),
        rejected=len(errors),
        errors=sorted([*errors, *conflicts], key=lambda error: error.index),
    )


def _priced(
    organization: Organization, credential: APICredential | None, events: Iterable[ParsedEvent], now: datetime
) -> tuple[list[LedgerEntry], list[ParsedEvent], list[RecordError]]:
    """The entries with the events they came from, and the events whose cost cannot be held."""
    book = price_book(organization.pk)
    credential_id = credential.pk if credential is not None else None
    entries: list[LedgerEntry] = []
    places: list[ParsedEvent] = []
    errors: list[RecordError] = []
    for parsed in events:
        entry = to_entry(parsed.event, book=book, now=now, credential_id=credential_id)
        if entry.known_cost_usd > LARGEST or (entry.computed_cost_usd or 0) > LARGEST:
            message = f"At the price of {entry.model} this event would cost more than {LARGEST} USD."
            errors.append(
                RecordError(index=parsed.index, id=parsed.event.id, code="cost_out_of_range", message=message)
            )
        else:
            entries.append(entry)
            places.append(parsed)
    return entries, places, errors


def _append_with_retries(
    *,
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002
    entries: list[LedgerEntry],
    rejected: int,
    now: datetime,
) -> Appended:
    """Events that share ids across different sessions can make two transactions wait for each other; PostgreSQL ends
    one of them, and its batch is simply tried again."""
    for attempt in range(_ATTEMPTS):
        try:
            return append(
                organization_id=organization.pk,
                credential_id=credential.pk if credential is not None else None,
                format=format,
                entries=entries,
                rejected=rejected,
                now=now,
            )
        except OperationalError as error:
            if not isinstance(error.__cause__, postgres.DeadlockDetected) or attempt == _ATTEMPTS - 1:
                raise
            logger.warning("batch tried again after a deadlock", extra={"attempt": attempt + 1})
    raise AssertionError("unreachable")  # pragma: no cover


def _conflicts(appended: Appended, places: list[ParsedEvent]) -> Iterable[RecordError]:
    for parsed, outcome in zip(places, appended.outcomes, strict=True):
        if outcome is Outcome.CONFLICT:
            yield RecordError(
                index=parsed.index,
                id=parsed.event.id,
                field="id",
                code="conflict",
                message="An event with this source and id but other content is in the ledger already.",
            )
