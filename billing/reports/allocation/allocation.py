"""The allocation of a month: the cost of each target before and after the rules. Read-only.

If the organization closes months, a month is allocated by time of booking, as in its statement: a closed month no
longer changes, and what comes later is allocated in the open month. Otherwise it is the same as by time of usage.

Each event belongs to at most one rule, the first that contains it, so no cost is split twice, and cost outside the
rules stays where it is. A rule splits the sum of its usage exactly (`billing.reports.allocation.split`), so the costs
after the rules add up to the costs before them.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

from psycopg import sql

from billing.models import ClosedMonth
from billing.reports.allocation.rules import (
    AllocationBasis,
    SplitRule,
    applicable,
    in_order,
    list_rules,
    needed_columns,
    rule_number,
)
from billing.reports.allocation.split import Weights, split
from billing.reports.months import ReportMonth
from billing.reports.rollup_reader import RollupReader, read_rollups
from billing.reports.statements.booked import BookedRows, booked_rows
from billing.reports.statements.months import month_of
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.totals import usage_rows
from billing.types import SplitMeasure, SplitMethod
from costtrack.calendar import Window
from costtrack.errors import ConflictError
from costtrack.money import ZERO
from organizations.models import Organization

UNALLOCATED = ""
"""The target of usage without one."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Usage of a target that belongs to a rule, by its number counted from 1; 0: to none."""

    rule: int
    target: str
    cost_usd: Decimal
    requests: int
    tokens: int

    def measured(self, measure: SplitMeasure) -> Fraction:
        by_measure = {
            SplitMeasure.COST: Fraction(self.cost_usd),
            SplitMeasure.REQUESTS: Fraction(self.requests),
            SplitMeasure.TOKENS: Fraction(self.tokens),
        }
        return by_measure[measure]


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What a rule has split: `taken` from each target, and `given` to each by its weight. A rule without anything to
    divide by has no weights, and leaves its usage where it is."""

    rule: SplitRule
    source_usd: Decimal
    taken: Mapping[str, Decimal]
    given: Mapping[str, Decimal]
    weights: Weights

    @property
    def is_split(self) -> bool:
        return bool(self.weights)


@dataclass(frozen=True, slots=True)
class TargetCost:
    """The cost of a target: of its own usage, taken from it by rules, and given to it by rules."""

    target: str
    direct_usd: Decimal = ZERO
    taken_usd: Decimal = ZERO
    given_usd: Decimal = ZERO

    @property
    def total_usd(self) -> Decimal:
        return self.direct_usd - self.taken_usd + self.given_usd


@dataclass(frozen=True, slots=True)
class Allocation:
    """The allocation of a month. `targets` are the most expensive first; usage without a target is `unallocated`.
    `is_booked`: it is by time of booking."""

    month: date
    basis: AllocationBasis
    rules: Sequence[RuleResult] = field(default_factory=tuple)
    targets: Sequence[TargetCost] = field(default_factory=tuple)
    unallocated: TargetCost = TargetCost(UNALLOCATED)
    is_booked: bool = False
    closed_at: datetime | None = None

    @property
    def rows(self) -> list[TargetCost]:
        """All targets, and what belongs to none last."""
        return [*self.targets, self.unallocated]

    @property
    def cost_usd(self) -> Decimal:
        return sum((row.direct_usd for row in self.rows), ZERO)

    @property
    def direct_share(self) -> float | None:
        """The share of the cost whose usage names a target, from 0 to 1; None without cost."""
        return _share(self.cost_usd - self.unallocated.direct_usd, self.cost_usd)

    @property
    def allocated_share(self) -> float | None:
        """The share of the cost that has a target after the rules."""
        return _share(self.cost_usd - self.unallocated.total_usd, self.cost_usd)


_CELLS = sql.SQL("""
SELECT month, rule, target, sum(cost_usd), sum(requests)::bigint, sum(tokens)::bigint
FROM (
    SELECT {month} AS month, {rule} AS rule, {target} AS target,
        {sign} * (token_cost_usd + compute_cost_usd) AS cost_usd, {sign} * requests AS requests,
        {sign} * (input_tokens + cache_read_tokens + cache_creation_tokens + output_tokens) AS tokens
    FROM ({rows}) AS cost
) AS usage
GROUP BY month, rule, target
""")


def allocations(
    *,
    organization: Organization,
    basis: AllocationBasis,
    months: Sequence[ReportMonth],
    draft: SplitRule | None = None,
    draft_month: date | None = None,
) -> list[Allocation]:
    """Return the allocation of each month, oldest first. `draft` is a version that is not stored, as if it began in
    `draft_month`. Raises InvalidError if there are too many events to read."""
    versions = list_rules(organization, basis)
    rules = [_with_draft(applicable(versions, month.month), month.month, draft, draft_month) for month in months]
    if ClosedMonth.objects.of(organization).exists():
        pairs = zip(months, rules, strict=True)
        return [_booked(organization, basis, month, of_month) for month, of_month in pairs]
    cells = _read_cells(organization, basis, months, rules)
    return [
        allocate(month.month, basis, of_month, cells.get(number, ()))
        for number, (month, of_month) in enumerate(zip(months, rules, strict=True), 1)
    ]


def _booked(
    organization: Organization, basis: AllocationBasis, month: ReportMonth, rules: Sequence[SplitRule]
) -> Allocation:
    """Return the allocation of a month by time of booking. If retention has deleted its events, or the plan shows only
    a part of it, it is by time of usage."""
    statement_month = month_of(organization, month.month)
    # With tags alone, the statement would have a row for each tag of an event.
    columns = needed_columns(basis, rules) | {"model"}
    rows: BookedRows | None = None
    if month.is_whole:
        with suppress(ConflictError):
            rows = booked_rows(organization, statement_month, UsageFilter(), columns)
    if rows is None:
        cells = _read_cells(organization, basis, [month], [rules])
        return allocate(month.month, basis, rules, cells.get(1, ()))

    def compose(reader: RollupReader) -> sql.Composable:
        target = basis.name_of(reader)
        return _CELLS.format(
            month=sql.SQL("1"),
            rule=rule_number(reader, rules, target),
            target=target,
            sign=sql.SQL("sign"),
            rows=rows(reader),
        )

    booked = [Cell(*values) for _, *values in read_rollups(organization, compose)]
    allocation = allocate(month.month, basis, rules, booked)
    return replace(allocation, is_booked=True, closed_at=statement_month.closed_at)


def _with_draft(
    rules: list[SplitRule], month: date, draft: SplitRule | None, draft_month: date | None
) -> list[SplitRule]:
    if draft is None or (draft_month is not None and month < draft_month):
        return rules
    others = [rule for rule in rules if rule.name != draft.name]
    return in_order([*others, draft])


def _read_cells(
    organization: Organization,
    basis: AllocationBasis,
    months: Sequence[ReportMonth],
    rules: Sequence[Sequence[SplitRule]],
) -> dict[int, list[Cell]]:
    """Return the cells of each month by its number, counted from 1. The months are ordered and disjoint."""
    columns = needed_columns(basis, (rule for of_month in rules for rule in of_month))
    windows = [Window(*month.span) for month in months]
    rows = usage_rows(organization, UsageFilter(), windows, columns)

    def compose(reader: RollupReader) -> sql.Composable:
        month = sql.SQL("width_bucket(at, {}::timestamptz[])").format(reader.bind([window.start for window in windows]))
        target = basis.name_of(reader)
        numbers = [
            sql.SQL("WHEN {} THEN {}").format(reader.bind(number), rule_number(reader, of_month, target))
            for number, of_month in enumerate(rules, 1)
        ]
        rule = sql.SQL("CASE {} {} ELSE 0 END").format(month, sql.SQL(" ").join(numbers))
        return _CELLS.format(month=month, rule=rule, target=target, sign=sql.SQL("1"), rows=rows(reader))

    cells: dict[int, list[Cell]] = {}
    for number, *values in read_rollups(organization, compose):
        cells.setdefault(number, []).append(Cell(*values))
    return cells


def allocate(month: date, basis: AllocationBasis, rules: Sequence[SplitRule], cells: Iterable[Cell]) -> Allocation:
    """Return the allocation of a month from its usage by rule and target. Pure."""
    cells = list(cells)
    results = [_apply(rule, number, cells) for number, rule in enumerate(rules, 1)]
    direct = _sums(cells)
    names = {*direct, *(name for result in results for name in result.given)}
    rows = [
        TargetCost(
            name,
            direct.get(name, ZERO),
            sum((result.taken.get(name, ZERO) for result in results), ZERO),
            sum((result.given.get(name, ZERO) for result in results), ZERO),
        )
        for name in names - {UNALLOCATED}
    ]
    rows.sort(key=lambda row: (-row.total_usd, row.target))
    unallocated = TargetCost(
        UNALLOCATED,
        direct.get(UNALLOCATED, ZERO),
        sum((result.taken.get(UNALLOCATED, ZERO) for result in results), ZERO),
    )
    return Allocation(month, basis, results, rows, unallocated)


def _apply(rule: SplitRule, number: int, cells: Sequence[Cell]) -> RuleResult:
    source = _sums(cell for cell in cells if cell.rule == number)
    source_usd = sum(source.values(), ZERO)
    weights = _weights(rule, number, cells)
    given = split(source_usd, weights)
    return RuleResult(rule, source_usd, source if given else {}, given, weights if given else {})


def _weights(rule: SplitRule, number: int, cells: Sequence[Cell]) -> Weights:
    """Return the weights above zero. A measure below zero (credits) counts as zero."""
    if rule.method is SplitMethod.FIXED:
        return {name: Fraction(share) for name, share in rule.targets.items() if share}
    measured: dict[str, Fraction] = {}
    measure = rule.measure or SplitMeasure.COST
    for cell in cells:
        counts = cell.target != UNALLOCATED and (cell.rule == number or not rule.measures_source)
        if counts and (not rule.targets or cell.target in rule.targets):
            measured[cell.target] = measured.get(cell.target, Fraction(0)) + cell.measured(measure)
    if rule.method is SplitMethod.EVEN:
        return dict.fromkeys(rule.targets or measured, Fraction(1))
    return {name: value for name, value in measured.items() if value > 0}


def _sums(cells: Iterable[Cell]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for cell in cells:
        sums[cell.target] = sums.get(cell.target, ZERO) + cell.cost_usd
    return sums


def _share(part: Decimal, whole: Decimal) -> float | None:
    return round(float(part / whole), 6) if whole > 0 else None
