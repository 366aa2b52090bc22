"""Transaction-local settings that are sent in the same message as a statement, without another round trip.

On a distributed database (`COSTTRACK_DISTRIBUTED`), each statement is a message of its own, inside a transaction,
because Citus sends a whole message to the workers for each SET in it (docs/distribution.md).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any

from django.conf import settings as django_settings
from django.db import connection, transaction
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
    if django_settings.DISTRIBUTED:
        with _transaction(context["connection"]):
            for setting in settings:
                execute(setting, None, False, context)
            return execute(statement, parameters, False, context)
    before = "".join(f"{setting}; " for setting in settings)
    joined = f"{before}{statement}" if isinstance(statement, str) else sql.SQL(before) + statement
    result = execute(joined, parameters, many, context)
    for _ in settings:
        context["cursor"].nextset()
    return result


def execute_together(cursor: Any, *statements: tuple[str, Sequence[Any]]) -> None:
    """Run statements with their parameters as one transaction, or as a part of the current one. The cursor has the
    result of the last."""
    if django_settings.DISTRIBUTED:
        with _transaction(connection):
            for statement, parameters in statements:
                cursor.execute(statement, parameters or None)
        return
    joined = "; ".join(statement for statement, _ in statements)
    cursor.execute(joined, list(chain.from_iterable(parameters for _, parameters in statements)) or None)
    for _ in statements[1:]:
        cursor.nextset()


def _transaction(connection: Any) -> AbstractContextManager[Any]:
    return nullcontext() if connection.in_atomic_block else transaction.atomic(using=connection.alias)
