"""Sets of usage that are defined by lists of values: what an allocation rule splits, and what a commitment covers.

Several sets may contain the same usage, which then belongs to the first of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import sql

from billing.pricing.price_book import identify_model
from billing.reports.rollup_reader import RollupReader
from billing.reports.sql import Parameters
from billing.reports.usage.figures import DIMENSIONS, UsageFilter
from billing.types import NO_CREDENTIAL
from costtrack.errors import field_error
from costtrack.names import MAX_LENGTH, clean_name
from organizations.models import Organization

_COLUMN_OF = {dimension.parameter: dimension.column for dimension in DIMENSIONS}
SOURCE_PARAMETERS = tuple(
    dimension.parameter
    for dimension in DIMENSIONS
    if not dimension.is_only_in_ledger and dimension.parameter != "status"
)
"""What a set of usage can be defined by, besides `tag`, which is read from single events."""
TAG = "tag"
MAX_VALUES = 50
"""Of one parameter."""


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


def stored_values(
    organization: Organization, given: Mapping[str, Sequence[str]], now: datetime, *, param: str
) -> dict[str, list[str]]:
    """Return the values of a source as the ledger has them. Raises InvalidError that names `param`."""
    values: dict[str, list[str]] = {}
    for parameter, names in given.items():
        if parameter not in (*SOURCE_PARAMETERS, TAG):
            raise field_error(param, f"{parameter[:100]} is not a filter of usage here.")
        cleaned = [_stored_name(organization, parameter, name, now) for name in names]
        if len(cleaned) > MAX_VALUES or any(len(name) > MAX_LENGTH or "\0" in name for name in cleaned):
            raise field_error(param, f"{parameter}: at most {MAX_VALUES} names of up to {MAX_LENGTH} characters.")
        if cleaned:
            values[parameter] = list(dict.fromkeys(cleaned))
    return values


def _stored_name(organization: Organization, parameter: str, name: str, now: datetime) -> str:
    if parameter == "model":
        return identify_model(organization.pk, clean_name(name), now=now)
    return organization.user_name(name) if parameter == "user_id" else clean_name(name)


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
