"""Composition of the SQL of reports. Values are always parameters.

Columns of the ledger and of all rollups have the same names, so that one condition works for both.
"""

from collections.abc import Callable, Mapping
from typing import Any

from psycopg import sql

Parameters = dict[str, Any]
"""The parameters of a statement by name. `organization` is always among them."""

Condition = Callable[[Parameters], sql.Composable]
"""Builds a condition over columns and adds its values to the parameters."""


def bind(parameters: Parameters, value: object) -> sql.Placeholder:
    """Add a value to the parameters and return its placeholder."""
    name = f"value_{len(parameters)}"
    parameters[name] = value
    return sql.Placeholder(name)


def no_condition(parameters: Parameters) -> sql.Composable:  # noqa: ARG001 - it has none
    return sql.SQL("true")


def equal_to(values: Mapping[str, object]) -> Condition:
    """Return the condition that columns have these values; a tuple means one of several."""

    def condition(parameters: Parameters) -> sql.Composable:
        conditions: list[sql.Composable] = [sql.SQL("true")]
        for column, value in values.items():
            template = "{} = ANY ({})" if isinstance(value, tuple) else "{} = {}"
            placeholder = bind(parameters, list(value) if isinstance(value, tuple) else value)
            conditions.append(sql.SQL(template).format(sql.Identifier(column), placeholder))
        return sql.SQL(" AND ").join(conditions)

    return condition


def within(column: sql.Composable, bounds: tuple[object, object], parameters: Parameters) -> sql.Composable:
    """Build the condition `start <= column < end`; None leaves a side open."""
    conditions: list[sql.Composable] = [sql.SQL("true")]
    for sign, bound in zip((">=", "<"), bounds, strict=True):
        if bound is not None:
            conditions.append(sql.SQL("{} {} {}").format(column, sql.SQL(sign), bind(parameters, bound)))
    return sql.SQL("({})").format(sql.SQL(" AND ").join(conditions))
