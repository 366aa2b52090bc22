"""Cost entries of workflow runs (document 002).

An entry is an amount without tokens, so it is stored as a `compute` event: it adds to the cost of its run, and counts
neither as a model call nor as an unpriced one. The entry's group becomes the event's `cost_group`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import uuid4

from billing.ingest.ledger_entries import COSTS_SOURCE
from billing.ingest.services import ingest
from billing.ingest.types import ParsedBatch, ParsedEvent, UsageEventInput
from billing.ingest.validate import InvalidEventError, normalize
from costtrack.errors import ConflictError
from costtrack.tenancy import tenant_scope
from organizations.models import APICredential, Organization

_NAMES = {"occurred_at": "created_at", "compute_cost_usd": "amount"}


@dataclass(frozen=True, slots=True)
class NewEntry:
    """`amount` is in USD. `id` defaults to a new UUID and `created_at` to the time of the request."""

    service: str
    amount: Decimal
    id: str | None = None
    group: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The ids of the entries in request order, and whether any of them is new."""

    ids: Sequence[str]
    is_new: bool


class InvalidEntryError(Exception):
    """One field of one entry is invalid; `index` is the position of the entry in the request."""

    def __init__(self, index: int, field: str, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.field = field
        self.message = message


def record_entries(
    *,
    organization: Organization,
    credential: APICredential | None,
    run_id: str,
    entries: Sequence[NewEntry],
    now: datetime,
) -> Recorded:
    """Add the entries to the ledger, all or none. An entry that is already stored with the same content is ignored.

    Raises InvalidEntryError, and ConflictError for an id that is stored with other content.
    """
    events = [_event(entry, run_id) for entry in entries]
    for index, event in enumerate(events):
        try:
            normalize(event, now)
        except InvalidEventError as error:
            raise InvalidEntryError(index, _NAMES.get(error.field, error.field), error.message) from error
    parsed = ParsedBatch([ParsedEvent(index, event) for index, event in enumerate(events)], errors=[])
    with tenant_scope(organization.pk):
        result = ingest(organization=organization, credential=credential, format=COSTS_SOURCE, parsed=parsed, now=now)
        if result.errors:
            ids = ", ".join(dict.fromkeys(error.id or "" for error in result.errors))
            raise ConflictError(f"id: there is a cost entry with this id and other content: {ids}", param="id")
    return Recorded([event.id or "" for event in events], is_new=result.accepted > 0)


def _event(entry: NewEntry, run_id: str) -> UsageEventInput:
    return UsageEventInput(
        id=entry.id or str(uuid4()),
        source=COSTS_SOURCE,
        kind="compute",
        occurred_at=entry.created_at,
        service=entry.service,
        cost_group=entry.group,
        compute_cost_usd=entry.amount,
        run_id=run_id,
    )
