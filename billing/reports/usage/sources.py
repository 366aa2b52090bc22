"""Sets of usage that are defined by lists of values: what an allocation rule splits, and what a commitment covers.

Several sets may contain the same usage, which then belongs to the first of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from billing.reports.rollup_reader import RollupReader
from billing.reports.sql import Parameters
from billing.reports.usage.figures import DIMENSIONS, UsageFilter
from billing.types import NO_CREDENTIAL

_COLUMN_OF = {dimension.parameter: dimension.column for dimension in DIMENSIONS}
SOURCE_PARAMETERS = tuple(
    dimension.parameter
    for dimension in DIMENSIONS
    if not dimension.is_only_in_ledger and dimension.parameter != "status"
)
"""What a set of usage can be defined by, besides `tag`, which is read from single events."""
TAG = "tag"


@dataclass(frozen=True, slots=True)
class UsageSource:
    """Usage with one of the values of each parameter; an empty value is usage without one. No parameter: all usage."""

    values: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def columns(self) -> set[str]:
        """The columns that the condition needs."""
        return {_COLUMN_OF[parameter] for parameter, values in self.values.items() if values}

    def condition(self, parameters: Parameters) -> sql.Composable:
        """Build the condition over columns of rollups and the ledger."""
        conditions: list[sql.Composable] = [sql.SQL("true")]
        for parameter, values in self.values.items():
            if values:
                options = [_has_value(parameter, value, parameters) for value in values]
                conditions.append(sql.SQL("({})").format(sql.SQL(" OR ").join(options)))
        return sql.SQL("({})").format(sql.SQL(" AND ").join(conditions))

    def contains(self, dimensions: Mapping[str, str | Sequence[str]]) -> bool:
        """Whether usage with these dimensions, by the names of the parameters, belongs to it."""
        return all(_matches(dimensions.get(name, ""), values) for name, values in self.values.items() if values)


def first_of(reader: RollupReader, conditions: Sequence[sql.Composable]) -> sql.Composable:
    """Build the number of the first condition that is met, counted from 1; 0 if none is."""
    if not conditions:
        return sql.SQL("0")
    cases = (
        sql.SQL("WHEN {} THEN {}").format(condition, reader.bind(number))
        for number, condition in enumerate(conditions, 1)
    )
    return sql.SQL("CASE {} ELSE 0 END").format(sql.SQL(" ").join(cases))


def _has_value(parameter: str, value: str, parameters: Parameters) -> sql.Composable:
    if value:
        return UsageFilter(**{parameter: value}).condition(parameters)
    if parameter == "client_id":
        return UsageFilter(client_id=NO_CREDENTIAL).condition(parameters)
    return sql.SQL("{} = {}").format(
        sql.Identifier(_COLUMN_OF[parameter]), sql.SQL("'{}'" if parameter == TAG else "''")
    )


def _matches(given: str | Sequence[str], values: Sequence[str]) -> bool:
    if isinstance(given, str):
        return given in values
    return any(tag in values for tag in given) or (not given and "" in values)
