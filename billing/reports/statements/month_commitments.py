"""The commitments of a statement month: their fees and use, as numbers that a closed month stores. Read-only.

Terms can end earlier and late usage changes what was used, so a closed month has what applied when it was closed. Until
then, usage by time of usage is also what is booked in the month.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from billing.reports.commitments import CommitmentUse, commitment_report, list_commitments
from billing.reports.months import ReportMonth
from billing.reports.statements.months import StatementMonth
from billing.reports.usage.sources import UsageSource
from billing.types import CommitmentKind
from costtrack.money import ZERO
from organizations.models import Organization


class MonthCommitment(msgspec.Struct, frozen=True, kw_only=True):
    """A commitment in a month, from `start` to `end`. `capacity` is in tokens; None without one. `cost_usd`, which is
    that in the ledger, and `tokens` are of the usage that it covers."""

    id: int
    name: str
    kind: CommitmentKind
    covers: dict[str, list[str]]
    start: datetime
    end: datetime
    accrued_usd: Decimal
    used_usd: Decimal
    capacity: Decimal | None
    cost_usd: Decimal
    tokens: int

    @property
    def idle_usd(self) -> Decimal:
        return self.accrued_usd - self.used_usd

    @property
    def idle_tokens(self) -> Decimal:
        return max((self.capacity or ZERO) - self.tokens, ZERO)

    def contains(self, at: datetime, dimensions: Mapping[str, str | Sequence[str]]) -> bool:
        """Whether it covers usage at a time with these dimensions, unless an earlier commitment does."""
        return self.start <= at < self.end and UsageSource(self.covers).contains(dimensions)


def month_commitments(organization: Organization, month: StatementMonth, now: datetime) -> list[MonthCommitment]:
    """Return the commitments of a month, in the order in which usage belongs to them; of an open month until now.
    Raises InvalidError if there are too many events to read."""
    if month.is_closed:
        return msgspec.convert(month.commitments, list[MonthCommitment])
    if not list_commitments(organization):
        return []
    report = commitment_report(organization=organization, month=ReportMonth(month.month, month.span), now=now)
    return [_of_use(use) for use in report.uses]


def stored_commitments(organization: Organization, month: StatementMonth, now: datetime) -> list[dict[str, Any]]:
    """Return the commitments of an open month as it stores them when it is closed."""
    stored: list[dict[str, Any]] = msgspec.to_builtins(month_commitments(organization, month, now))
    return stored


def _of_use(use: CommitmentUse) -> MonthCommitment:
    commitment = use.commitment
    return MonthCommitment(
        id=commitment.pk,
        name=commitment.name,
        kind=CommitmentKind(commitment.kind),
        covers=commitment.covers,
        start=use.span.start,
        end=use.span.end,
        accrued_usd=use.accrued_usd,
        used_usd=use.used_usd,
        capacity=use.capacity,
        cost_usd=use.usage.cost_usd,
        tokens=use.usage.tokens,
    )
