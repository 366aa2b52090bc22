"""Allocations as files: the cost of each target before and after the rules, or the shares of each rule."""

from collections.abc import Iterator
from enum import StrEnum
from functools import cache

import msgspec

from billing.exports.table_files import FileTable, Part, Row, columns_of
from billing.reports.allocation.allocation import Allocation, allocations
from billing.reports.allocation.rules import AllocationBasis
from billing.reports.months import ReportMonth
from costtrack.file_columns import Kind
from organizations.models import Organization, User
from organizations.permissions import USAGE, Resource


class AllocationRows(StrEnum):
    """What a row is: a target, or the share of a target in what a rule has split."""

    TARGETS = "targets"
    SHARES = "shares"


_TARGETS = (
    *columns_of(Kind.TEXT, "month", "target"),
    *columns_of(Kind.AMOUNT, "direct_usd", "taken_usd", "given_usd", "total_usd"),
)
_SHARES = (
    *columns_of(Kind.TEXT, "month", "rule", "method", "measure", "target"),
    *columns_of(Kind.AMOUNT, "taken_usd", "given_usd"),
)


class AllocationFile(msgspec.Struct, frozen=True, tag="allocation", kw_only=True):
    """The allocation of months, oldest first, with what the plan shows of them."""

    basis: AllocationBasis
    months: tuple[ReportMonth, ...]
    rows: AllocationRows = AllocationRows.TARGETS

    @property
    def resource(self) -> Resource:
        return USAGE

    @property
    def title(self) -> str:
        return f"Shared cost of {self.months[-1].month:%B %Y}"

    def table(self, organization: Organization, user: User) -> FileTable:
        """Return the rows of these months. Those of targets add up to the cost of each month, the last one is usage
        without a target; of a rule, what it takes adds up to what it gives. Reading raises InvalidError if there are
        too many events to read."""
        columns, of_month = (_TARGETS, _targets) if self.rows is AllocationRows.TARGETS else (_SHARES, _shares)

        @cache
        def rows() -> list[Row]:
            by_month = allocations(organization=organization, basis=self.basis, months=self.months)
            return [row for allocation in by_month for row in of_month(allocation)]

        return FileTable(columns, lambda _: Part(rows(), None), lambda limit: min(len(rows()), limit), reads_first=True)

    def file_name(self, organization: Organization) -> str:
        first, last = self.months[0].month, self.months[-1].month
        name = f"allocation-{self.rows}-{self.basis.target}-{organization.slug}-{first:%Y-%m}"
        return name + (f"-{last:%Y-%m}" if last != first else "")


def _targets(allocation: Allocation) -> Iterator[Row]:
    month = f"{allocation.month:%Y-%m}"
    for row in allocation.rows:
        yield month, row.target, row.direct_usd, row.taken_usd, row.given_usd, row.total_usd


def _shares(allocation: Allocation) -> Iterator[Row]:
    month = f"{allocation.month:%Y-%m}"
    for result in allocation.rules:
        rule = result.rule
        measure = rule.measure.value if rule.measure is not None else ""
        for target in sorted({*result.taken, *result.given}):
            taken, given = result.taken.get(target), result.given.get(target)
            yield month, rule.name, rule.method.value, measure, target, taken, given
