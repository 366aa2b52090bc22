"""Transaction-local settings that are sent in the same message as a statement, without another round trip."""

from collections.abc import Callable, Sequence
from typing import Any

from psycopg import sql


def execute_with(
    settings: Sequence[str],
    execute: Callable[..., Any],
    statement: Any,
    parameters: Any,
    *,
    many: bool,
    context: dict[str, Any],
) -> Any:
    """Run a statement after `SET LOCAL` statements, for one of Django's execute wrappers. Outside a transaction, all of
    them form one transaction, so the settings end with the statement."""
    if many:
        raise RuntimeError("Only single statements can be sent along with local settings.")
    before = "".join(f"{setting}; " for setting in settings)
    joined = f"{before}{statement}" if isinstance(statement, str) else sql.SQL(before) + statement
    result = execute(joined, parameters, many, context)
    for _ in settings:
        context["cursor"].nextset()
    return result
