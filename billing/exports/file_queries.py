"""All files that can be requested, and their queries as JSON."""

from typing import Any

import msgspec

from billing.exports.allocation_files import AllocationFile
from billing.exports.focus import FocusFile
from billing.exports.list_files import ListFile
from billing.exports.price_check_file import PriceCheckFile
from billing.exports.run_files import ExecutionsFile, RunsFile, SessionsFile
from billing.exports.statement_files import StatementFile
from billing.exports.table_files import FileQuery
from billing.exports.usage_files import BreakdownFile, DaysFile, RequestsFile

_Query = (
    RequestsFile
    | DaysFile
    | BreakdownFile
    | RunsFile
    | SessionsFile
    | ExecutionsFile
    | PriceCheckFile
    | StatementFile
    | FocusFile
    | AllocationFile
    | ListFile
)


def query_json(query: FileQuery) -> Any:
    """Return a query as it is stored."""
    return msgspec.to_builtins(query)


def query_of(stored: Any) -> FileQuery:
    """Return a stored query."""
    query: FileQuery = msgspec.convert(stored, _Query)
    return query
