"""Allocations as files: the cost of each target before and after the rules, or the shares of each rule."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from django.http import StreamingHttpResponse

from billing.exports.table_files import FileTable, Part, Row, columns_of, file_response
from billing.reports.allocation.allocation import Allocation
from costtrack.file_columns import FileFormat, Kind
from organizations.models import Organization


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


def allocation_response(
    allocations: Sequence[Allocation],
    *,
    organization: Organization,
    rows: AllocationRows,
    file_format: FileFormat,
    with_bom: bool = False,
) -> StreamingHttpResponse:
    """Return a response that streams the file of these months."""
    first, last = allocations[0], allocations[-1]
    name = f"allocation-{rows}-{first.basis.target}-{organization.slug}-{first.month:%Y-%m}"
    name += f"-{last.month:%Y-%m}" if last is not first else ""
    return file_response(allocation_table(allocations, rows), name, file_format, with_bom=with_bom)


def allocation_table(allocations: Sequence[Allocation], rows: AllocationRows) -> FileTable:
    """Return the rows of these months. Those of targets add up to the cost of each month, the last one is usage without
    a target; of a rule, what it takes adds up to what it gives."""
    columns, of_month = (_TARGETS, _targets) if rows is AllocationRows.TARGETS else (_SHARES, _shares)
    all_rows = [row for allocation in allocations for row in of_month(allocation)]
    return FileTable(columns, lambda _: Part(all_rows, None), lambda limit: min(len(all_rows), limit))


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
