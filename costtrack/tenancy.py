"""PostgreSQL row-level security behind the code (docs/decisions/019-tenancy.md).

Inside `tenant_scope` the connection acts as the role `costtrack_tenant`, for which every table with an
`organization` column shows, and accepts, only the named organizations' rows. Both settings are local to the
transaction, so they end with it and a transaction pooler cannot carry them to somebody else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import connection, transaction

from costtrack.database.local_settings import execute_with
from costtrack.roles import TENANT_ROLE

_NO_ROLE = "none"

_scope: ContextVar[tuple[int, ...] | None] = ContextVar("costtrack_tenant_scope", default=None)
_before_each: ContextVar[tuple[str, str] | None] = ContextVar("costtrack_before_each_statement", default=None)


@contextmanager
def tenant_scope(*organization_ids: int) -> Iterator[None]:
    """One transaction that sees nothing but these organizations' rows. An inner scope replaces the outer one until
    it ends."""
    with _transaction(organization_ids):
        yield


@contextmanager
def tenant_reads(*organization_ids: int) -> Iterator[None]:
    """The same for statements that only read, without a transaction around them: each sees what is committed then.

    The settings go to the server together with the statement, which makes them a transaction of its own. That saves
    three messages of four for what asks one question, as most requests do. Inside a transaction, where settings would
    outlive the statement, it is a `tenant_scope`.
    """
    if connection.in_atomic_block:
        with _transaction(organization_ids):
            yield
        return
    token = _before_each.set(_settings(organization_ids))
    try:
        with connection.execute_wrapper(_set_before):
            yield
    finally:
        _before_each.reset(token)


def _set_before(execute: Callable[..., Any], statement: Any, parameters: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
    settings = _before_each.get()
    if settings is None:
        return execute(statement, parameters, many, context)
    return execute_with(settings, execute, statement, parameters, many=many, context=context)


@contextmanager
def owner_scope() -> Iterator[None]:
    """One transaction with all rights of the database's user, also inside a tenant scope: for work on the tables
    themselves."""
    with _transaction(None):
        yield


@contextmanager
def _transaction(organization_ids: tuple[int, ...] | None) -> Iterator[None]:
    outer = _scope.get()
    joined = connection.in_atomic_block
    before_each = _before_each.set(None)
    is_in_place = joined and organization_ids == outer
    token = _scope.set(organization_ids)
    try:
        with transaction.atomic():
            if not is_in_place and (organization_ids is not None or outer is not None):
                _enter(organization_ids)
            yield
            # A transaction of our own ends here and takes the settings with it; one we joined goes on without them.
            # (After an error the rollback to the savepoint restores them.)
            if joined and not is_in_place and not connection.needs_rollback:
                _enter(outer)
    finally:
        _before_each.reset(before_each)
        _scope.reset(token)


def _enter(organization_ids: tuple[int, ...] | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("; ".join(_settings(organization_ids)))


def _settings(organization_ids: tuple[int, ...] | None) -> tuple[str, str]:
    """Two settings, of a kind that PostgreSQL has nothing to plan about."""
    role = _NO_ROLE if organization_ids is None else TENANT_ROLE
    listed = ",".join(str(int(pk)) for pk in organization_ids or ())
    return f"SET LOCAL role = {role}", f"SET LOCAL costtrack.organizations = '{listed}'"
