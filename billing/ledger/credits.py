"""Credits: amounts that a provider has credited, and that belong to no event. They append rows with negative costs.

A credit is spread evenly over the days of its period, so that days, weeks and months have their share. Each share is
booked at the end of an hour of its day: the spend of the hour in which a rolling window begins is then an upper bound
of the spend inside the window, on which authorizations rely (`billing.limits.reserve`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.ledger.adjustments import SOURCE, adjustment_of, note
from billing.ledger.append import append
from billing.ledger.corrections import append_adjustments
from billing.ledger.types import LedgerEntry
from billing.models import Credit, UsageEvent
from billing.pricing.price_book import cached_price_book
from billing.types import CorrectionKind, CostSource, EventKind
from costtrack.calendar import Span, Unit
from costtrack.clock import HOUR, MICROSECOND, iso, start_of_hour
from costtrack.errors import ConflictError, field_error
from costtrack.money import DECIMALS, MAX_AMOUNT_USD, plain, to_storable
from costtrack.names import clean_name
from costtrack.tenancy import tenant_scope
from costtrack.text import clean_text
from organizations import audit
from organizations.models import APICredential, Organization

MAX_DAYS = 366

DIMENSIONS = (
    *("service", "model", "capability", "user_id", "end_user", "team", "agent_id", "workflow_id", "run_id"),
    "client_id",
)
"""The dimensions of a credit besides its tags, by the names of the API."""


@dataclass(frozen=True, slots=True)
class NewCredit:
    """What a provider has credited. `dimensions` are texts by their names in the API, and `tags`, a list.

    The period is half-open; None: the hour of the request.
    """

    amount_usd: Decimal
    reason: str
    start: datetime | None = None
    end: datetime | None = None
    dimensions: Mapping[str, Any] = field(default_factory=dict)


def create_credit(*, organization: Organization, credit: NewCredit, actor: str, now: datetime) -> Credit:
    """Store a credit and append its rows to the ledger.

    Raises InvalidError naming the field.
    """
    validate_credit(organization=organization, credit=credit, now=now)
    amount_usd, reason = to_storable(credit.amount_usd), clean_text(credit.reason, param="reason")
    span = _period(credit, now)
    shares = _shares(organization, amount_usd, span)
    dimensions = _clean(credit.dimensions)
    with tenant_scope(organization.pk):
        columns = _columns(organization, dimensions, now)
        entries = [
            LedgerEntry(
                source=SOURCE,
                kind=EventKind.CREDIT.value,
                occurred_at=occurred_at,
                cost_source=CostSource.ADJUSTED.value,
                adjustment_reason=reason,
                token_cost_usd=-share,
                **columns,
            )
            for occurred_at, share in shares
        ]
        appended = append(
            organization_id=organization.pk, credential_id=None, format="credit", entries=entries, rejected=0, now=now
        )
        row = Credit.objects.create(
            organization=organization,
            amount_usd=amount_usd,
            reason=reason,
            start=span.start,
            end=span.end,
            dimensions=dimensions,
            actor=actor,
            created_at=now,
            batch_id=appended.batch_id,
        )
        _audit(row, "credit.created", actor, reason)
    return row


def validate_credit(*, organization: Organization, credit: NewCredit, now: datetime) -> None:
    """Raise InvalidError naming the field if the credit cannot be stored."""
    if not credit.amount_usd.is_finite() or not 0 < credit.amount_usd <= MAX_AMOUNT_USD:
        raise field_error("amount_usd", f"Must be more than 0 and at most {MAX_AMOUNT_USD}.")
    if to_storable(credit.amount_usd) != credit.amount_usd:
        raise field_error("amount_usd", f"At most {DECIMALS} decimals are allowed.")
    clean_text(credit.reason, param="reason")
    _shares(organization, credit.amount_usd, _period(credit, now))
    _credential(organization, _clean(credit.dimensions).get("client_id", ""))


def void_credit(*, organization: Organization, credit_id: int, reason: str, actor: str, now: datetime) -> Credit:
    """Take a credit back by appending rows. Raises NotFoundError, and ConflictError if it is voided already."""
    reason = clean_text(reason, param="reason")
    with tenant_scope(organization.pk):
        credits_for_update = Credit.objects.of(organization).select_for_update()
        row = credits_for_update.get_or_not_found("credit", pk=credit_id)
        if row.voided_at is not None:
            raise ConflictError("The credit is already voided.", code="already_voided")
        metadata = note(CorrectionKind.VOID, actor=actor, reason=reason)
        events = UsageEvent.objects.of(organization).of_batch(row.batch_id)
        entries = [
            adjustment_of(event, reason=reason, metadata=metadata, token_cost_usd=-(event.token_cost_usd or 0))
            for event in events.order_by("id")
        ]
        append_adjustments(organization, entries, now)
        row.voided_at, row.voided_by, row.void_reason = now, actor, reason
        row.save(update_fields=["voided_at", "voided_by", "void_reason"])
        _audit(row, "credit.voided", actor, reason)
    return row


def _period(credit: NewCredit, now: datetime) -> Span:
    this_hour = start_of_hour(now)
    end = this_hour + HOUR if credit.end is None else credit.end
    start = end - HOUR if credit.start is None else credit.start
    if end <= start:
        raise field_error("end_date", "Must be after start_date.")
    if start > now:
        raise field_error("start_date", "Must not be in the future.")
    return Span(start, end)


def _shares(organization: Organization, amount_usd: Decimal, span: Span) -> list[tuple[datetime, Decimal]]:
    """Split the amount over the days of the period (the organization's), exactly. The last day gets the remainder."""
    days = list(_days(organization, span))
    units, rest = divmod(int(Fraction(amount_usd) * 10**DECIMALS), len(days))
    amounts = [Decimal(f"{units}E-{DECIMALS}")] * (len(days) - 1) + [Decimal(f"{units + rest}E-{DECIMALS}")]
    return [(_booked_at(day), amount) for day, amount in zip(days, amounts, strict=True) if amount]


def _days(organization: Organization, span: Span) -> Iterator[Span]:
    for count, day in enumerate(organization.calendar.periods(Unit.DAY, span)):
        if count == MAX_DAYS:
            raise field_error("end_date", f"The period may have at most {MAX_DAYS} days.")
        yield day


def _booked_at(day: Span) -> datetime:
    """Return the last microsecond of an hour (UTC) that ends within the day, or of the hour in which it ends."""
    end = start_of_hour(day.end)
    return (end if end > day.start else end + HOUR) - MICROSECOND


def _clean(dimensions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dimensions that have a value, in the spelling in which names are stored."""
    cleaned = {name: clean_name(dimensions.get(name, "")) for name in DIMENSIONS}
    tags = list(dict.fromkeys(filter(None, map(clean_name, dimensions.get("tags", ())))))
    return {name: value for name, value in {**cleaned, "tags": tags}.items() if value}


def _columns(organization: Organization, dimensions: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the columns of the rows: those of an event with these dimensions, so that the same limits count them."""
    columns = dict(dimensions)
    columns["user_ref"] = organization.user_name(columns.pop("user_id", ""))
    credential = _credential(organization, columns.pop("client_id", ""))
    if credential is not None:
        columns["credential_id"], columns["environment"] = credential.pk, credential.environment
    service, model = columns.get("service", ""), columns.get("model", "")
    if service or model:
        columns["model"], columns["provider"] = cached_price_book(organization.pk).identify(service, model, now)
    if columns.get("model", "") != model:
        columns["sent_model"] = model
    return columns


def _credential(organization: Organization, client_id: str) -> APICredential | None:
    if not client_id:
        return None
    credential = APICredential.objects.of(organization).filter(client_id=client_id).first()
    if credential is None:
        raise field_error("client_id", "No such credential.")
    return credential


def _audit(row: Credit, action: str, actor: str, reason: str) -> None:
    audit.record(
        organization=row.organization,
        actor=actor,
        action=action,
        subject=str(row.pk),
        reason=reason,
        amount_usd=plain(row.amount_usd),
        start=iso(row.start),
        end=iso(row.end),
    )
