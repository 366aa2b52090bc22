"""Commitments: create and end them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from billing.models import Commitment
from billing.reports.usage.sources import stored_values
from billing.types import CommitmentKind, FeePeriod
from costtrack.clock import DAY
from costtrack.errors import ConflictError, field_error
from costtrack.money import DECIMALS, MAX_AMOUNT_USD, plain, to_storable
from costtrack.names import clean_name
from costtrack.tenancy import tenant_scope
from organizations import audit
from organizations.models import Organization

MAX_COMMITMENTS = 200
"""Of an organization."""
MAX_NAME_LENGTH = 100
MAX_TOKENS_PER_MINUTE = 10**12
FIRST_YEAR, LAST_YEAR = 2000, 2199


@dataclass(frozen=True, slots=True)
class NewCommitment:
    """The terms of a commitment. `covers` has lists of values by the name of the parameter."""

    name: str
    kind: CommitmentKind
    amount_usd: Decimal
    period: FeePeriod
    starts: date
    covers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ends: date | None = None
    tokens_per_minute: int | None = None


def create_commitment(
    *, organization: Organization, commitment: NewCommitment, actor: str, now: datetime
) -> Commitment:
    """Store a commitment. Raises InvalidError naming the field."""
    with tenant_scope(organization.pk):
        covers = validate_commitment(organization=organization, commitment=commitment, now=now)
        if Commitment.objects.of(organization).count() >= MAX_COMMITMENTS:
            raise ConflictError(f"There are {MAX_COMMITMENTS} commitments already.", code="too_many_commitments")
        row = Commitment.objects.create(
            organization=organization,
            name=clean_name(commitment.name),
            kind=commitment.kind.value,
            amount_usd=commitment.amount_usd,
            period=commitment.period.value,
            starts=commitment.starts,
            ends=commitment.ends,
            covers=covers,
            tokens_per_minute=commitment.tokens_per_minute,
            actor=actor,
            created_at=now,
        )
        _audit(row, "commitment.created", actor)
    return row


def end_commitment(*, organization: Organization, commitment_id: int, ends: date, actor: str) -> Commitment:
    """End a commitment after a day. An end can only move to an earlier day; one on the day before the start means that
    it never applies. Raises NotFoundError, ConflictError and InvalidError."""
    with tenant_scope(organization.pk):
        rows = Commitment.objects.of(organization).select_for_update()
        row = rows.get_or_not_found("commitment", pk=commitment_id)
        if row.ends is not None and row.ends <= ends:
            raise ConflictError(f"The commitment ends at {row.ends}.", code="already_ended", param="ends")
        if ends < row.starts - DAY:
            raise field_error("ends", f"The commitment begins at {row.starts}.")
        row.ends = ends
        row.save(update_fields=["ends"])
        _audit(row, "commitment.ended", actor)
    return row


def validate_commitment(
    *, organization: Organization, commitment: NewCommitment, now: datetime
) -> dict[str, list[str]]:
    """Return what it covers, as it is stored. Raises InvalidError naming the field."""
    name = clean_name(commitment.name)
    if not name or len(name) > MAX_NAME_LENGTH:
        raise field_error("name", f"Required, with at most {MAX_NAME_LENGTH} characters.")
    amount = commitment.amount_usd
    if not amount.is_finite() or not 0 < amount <= MAX_AMOUNT_USD:
        raise field_error("amount_usd", f"Must be more than 0 and at most {MAX_AMOUNT_USD}.")
    if to_storable(amount) != amount:
        raise field_error("amount_usd", f"At most {DECIMALS} decimals are allowed.")
    for param, day in (("starts", commitment.starts), ("ends", commitment.ends)):
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise field_error(param, f"The year must be from {FIRST_YEAR} to {LAST_YEAR}.")
    if commitment.ends is not None and commitment.ends < commitment.starts:
        raise field_error("ends", "Must not be before starts.")
    tokens = commitment.tokens_per_minute
    if tokens is not None and not 1 <= tokens <= MAX_TOKENS_PER_MINUTE:
        raise field_error("tokens_per_minute", f"Must be from 1 to {MAX_TOKENS_PER_MINUTE}.")
    covers = stored_values(organization, commitment.covers, now, param="covers")
    if not covers:
        raise field_error("covers", "Name the usage that the fee covers.")
    return covers


def _audit(row: Commitment, action: str, actor: str) -> None:
    audit.record(
        organization=row.organization,
        actor=actor,
        action=action,
        subject=row.name,
        commitment=row.pk,
        amount_usd=plain(row.amount_usd),
        period=row.period,
        starts=str(row.starts),
        ends=str(row.ends) if row.ends is not None else None,
    )
