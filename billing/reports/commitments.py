"""Commitments: fixed fees, the usage that they cover, what of them is idle, and what a token actually costs. Read-only.

The ledger prices covered usage as if it were billed. This report sets that notional cost apart: what is spent is the
metered usage, which no commitment covers, and the fees. Other reports show all usage at its cost in the ledger.

A fee accrues evenly over its period, in units of the last decimal, so that the parts of a period add up to its fee.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from psycopg import sql

from billing.models import Commitment
from billing.reports.months import ReportMonth
from billing.reports.rollup_reader import RollupReader, read_rollups
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.sources import UsageSource, first_of
from billing.reports.usage.totals import usage_rows
from billing.types import FeePeriod
from costtrack.calendar import Calendar, Span, Unit, Window
from costtrack.clock import DAY, MICROSECOND
from costtrack.money import DECIMALS, ZERO
from organizations.models import Organization

_MINUTE = timedelta(minutes=1)
_UNITS = {FeePeriod.HOUR: Unit.HOUR, FeePeriod.DAY: Unit.DAY, FeePeriod.MONTH: Unit.MONTH}
_MONTHS_OF_YEAR = 12


@dataclass(frozen=True, slots=True)
class CoveredUsage:
    """The usage that a commitment covers, and its cost in the ledger."""

    cost_usd: Decimal = ZERO
    requests: int = 0
    tokens: int = 0


NO_USAGE = CoveredUsage()


@dataclass(frozen=True, slots=True)
class CommitmentUse:
    """A commitment in a month. `committed_usd` is the fee of the whole month, `accrued_usd` that of the time until now,
    which is `span`. `capacity` is the tokens that could be processed in it; None without a capacity. `used_share` is
    from 0 to 1: of the capacity or, without one, the notional cost compared with the fee."""

    commitment: Commitment
    span: Span
    committed_usd: Decimal
    accrued_usd: Decimal
    usage: CoveredUsage
    used_share: Decimal
    capacity: Decimal | None = None

    @property
    def used_usd(self) -> Decimal:
        return _round(self.accrued_usd * self.used_share)

    @property
    def idle_usd(self) -> Decimal:
        return self.accrued_usd - self.used_usd

    @property
    def usd_per_million_tokens(self) -> Decimal | None:
        """The accrued fee for each million tokens; None without tokens."""
        return self.accrued_usd * 1_000_000 / self.usage.tokens if self.usage.tokens > 0 else None


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """A month with its commitments. `metered` is the usage that none of them covers."""

    month: ReportMonth
    uses: Sequence[CommitmentUse]
    metered: CoveredUsage

    @property
    def fees_usd(self) -> Decimal:
        return sum((use.accrued_usd for use in self.uses), ZERO)

    @property
    def notional_usd(self) -> Decimal:
        """What the covered usage costs in the ledger."""
        return sum((use.usage.cost_usd for use in self.uses), ZERO)

    @property
    def spend_usd(self) -> Decimal:
        """What is paid: metered usage and fees."""
        return self.metered.cost_usd + self.fees_usd

    @property
    def idle_usd(self) -> Decimal:
        return sum((use.idle_usd for use in self.uses), ZERO)


_CELLS = sql.SQL("""
SELECT commitment, sum(cost_usd), sum(requests)::bigint, sum(tokens)::bigint
FROM (
    SELECT {commitment} AS commitment, token_cost_usd + compute_cost_usd AS cost_usd, requests,
        input_tokens + cache_read_tokens + cache_creation_tokens + output_tokens AS tokens
    FROM ({rows}) AS cost
) AS usage
GROUP BY commitment
""")


def list_commitments(organization: Organization) -> list[Commitment]:
    """Return all commitments, in the order in which usage belongs to them."""
    return list(Commitment.objects.of(organization).order_by("starts", "id"))


def commitment_report(*, organization: Organization, month: ReportMonth, now: datetime) -> CommitmentReport:
    """Return the commitments of a month with the usage that they cover. Raises InvalidError if there are too many
    events to read."""
    calendar = organization.calendar
    active = [
        (commitment, span)
        for commitment in list_commitments(organization)
        if (span := _within(span_of(commitment, calendar), month.span)) is not None
    ]
    usage = _read_usage(organization, month, active)
    uses = [
        _use(commitment, span, usage.get(number, NO_USAGE), calendar, now)
        for number, (commitment, span) in enumerate(active, 1)
    ]
    return CommitmentReport(month, uses, usage.get(0, NO_USAGE))


def span_of(commitment: Commitment, calendar: Calendar) -> Window:
    """Return the time of a commitment; without a last day, it is open."""
    end = calendar.start_of(commitment.ends + DAY) if commitment.ends is not None else None
    return Window(calendar.start_of(commitment.starts), end)


def accrued(amount: Decimal, period: FeePeriod, span: Span, calendar: Calendar) -> Decimal:
    """Return the fee of a span. Parts of a period add up to its fee."""
    units = int(amount.scaleb(DECIMALS))
    total = 0
    for whole in _periods(period, span, calendar):
        length = (whole.end - whole.start) // MICROSECOND
        start, end = max(whole.start, span.start), min(whole.end, span.end)
        until = [units * ((instant - whole.start) // MICROSECOND) // length for instant in (start, end)]
        total += until[1] - until[0]
    return Decimal(total).scaleb(-DECIMALS)


def _periods(period: FeePeriod, span: Span, calendar: Calendar) -> Iterator[Span]:
    """Yield the whole periods that the span touches."""
    instant = span.start
    while instant < span.end:
        whole = (
            calendar.period(_UNITS[period], instant) if period in _UNITS else calendar.months(_MONTHS_OF_YEAR, instant)
        )
        yield whole
        instant = whole.end


def _within(window: Window, span: Span) -> Span | None:
    """Return the part of a span in a window; None if there is none."""
    start = span.start if window.start is None else max(window.start, span.start)
    end = span.end if window.end is None else min(window.end, span.end)
    return Span(start, end) if start < end else None


def _read_usage(
    organization: Organization, month: ReportMonth, active: Sequence[tuple[Commitment, Span]]
) -> dict[int, CoveredUsage]:
    """Return the usage of each commitment by its number, counted from 1; 0: no commitment's. The month is read in parts
    between the starts and ends of commitments, so that no bucket of a rollup lies in two."""
    sources = [UsageSource(commitment.covers) for commitment, _ in active]
    columns: set[str] = set().union(*(source.columns for source in sources))
    boundaries = sorted({*month.span, *(instant for _, span in active for instant in span)})
    rows = usage_rows(organization, UsageFilter(), [Window(*part) for part in pairwise(boundaries)], columns)

    def compose(reader: RollupReader) -> sql.Composable:
        conditions = [
            sql.SQL("at >= {} AND at < {} AND {}").format(
                reader.bind(span.start), reader.bind(span.end), source.condition(reader.parameters)
            )
            for source, (_, span) in zip(sources, active, strict=True)
        ]
        return _CELLS.format(commitment=first_of(reader, conditions), rows=rows(reader))

    return {number: CoveredUsage(*values) for number, *values in read_rollups(organization, compose)}


def _use(commitment: Commitment, span: Span, usage: CoveredUsage, calendar: Calendar, now: datetime) -> CommitmentUse:
    period = FeePeriod(commitment.period)
    elapsed = Span(span.start, min(max(now, span.start), span.end))
    committed = accrued(commitment.amount_usd, period, span, calendar)
    until_now = accrued(commitment.amount_usd, period, elapsed, calendar)
    minutes = Decimal((elapsed.end - elapsed.start) // MICROSECOND) / (_MINUTE // MICROSECOND)
    rate = commitment.tokens_per_minute
    capacity = rate * minutes if rate is not None else None
    used, whole = (usage.cost_usd, until_now) if capacity is None else (Decimal(usage.tokens), capacity)
    share = min(max(used / whole, ZERO), Decimal(1)) if whole > 0 else ZERO
    return CommitmentUse(commitment, elapsed, committed, until_now, usage, share, capacity)


def _round(amount: Decimal) -> Decimal:
    """Round down to the last decimal that is stored."""
    return Decimal(int(amount.scaleb(DECIMALS))).scaleb(-DECIMALS)
