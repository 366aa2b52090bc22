"""PostgreSQL row-level security (docs/decisions/019-tenancy.md).

Inside `tenant_scope` the connection acts as the role `costtrack_tenant`, for which every table with an `organization`
column shows and accepts only rows of the given organizations. Both settings are local to the transaction, so a
transaction pooler cannot leak them to another client.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings as django_settings
from django.db import connection, transaction

from costtrack.database.local_settings import execute_together, execute_with
from costtrack.roles import TENANT_ROLE

_NO_ROLE = "none"

_scope: ContextVar[tuple[int, ...] | None] = ContextVar("costtrack_tenant_scope", default=None)
_before_each: ContextVar[tuple[str, str] | None] = ContextVar("costtrack_before_each_statement", default=None)


@contextmanager
def tenant_scope(*organization_ids: int) -> Iterator[None]:
    """Run a transaction that sees only rows of these organizations. An inner scope replaces the outer one until it
    ends."""
    with _transaction(organization_ids):
        yield


@contextmanager
def tenant_reads(*organization_ids: int) -> Iterator[None]:
    """Like `tenant_scope`, for statements that only read, without a transaction around them.

    The settings are sent together with each statement, as a separate transaction. For a request with a single query, as
    most are, this saves three of four messages. Inside a transaction, where the settings would outlive the statement,
    and on a distributed database (`costtrack.database.local_settings`), it is a `tenant_scope`.
    """
    if connection.in_atomic_block or django_settings.DISTRIBUTED:
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
    """Run a transaction with all privileges of the database user, even inside a tenant scope. For maintenance of
    tables."""
    with _transaction(None):
        yield


@contextmanager
def same_scope() -> Iterator[None]:
    """Run in the tenant scope that is open already, if there is one, on a connection that has taken the place of its
    own (`costtrack.replica.reads`)."""
    organization_ids = _scope.get()
    if organization_ids is None or connection.in_atomic_block:
        yield
        return
    with _transaction(organization_ids):
        yield


@contextmanager
def _transaction(organization_ids: tuple[int, ...] | None) -> Iterator[None]:
    outer = _scope.get()
    joined = connection.in_atomic_block
    before_each = _before_each.set(None)
    is_unchanged = joined and organization_ids == outer
    token = _scope.set(organization_ids)
    try:
        with transaction.atomic():
            if not is_unchanged and (organization_ids is not None or outer is not None):
                _enter(organization_ids)
            yield
            # Our own transaction ends here, and the settings with it. In a joined one, restore the outer settings.
            # (After an error the rollback to the savepoint does that.)
            if joined and not is_unchanged and not connection.needs_rollback:
                _enter(outer)
    finally:
        _before_each.reset(before_each)
        _scope.reset(token)


def _enter(organization_ids: tuple[int, ...] | None) -> None:
    with connection.cursor() as cursor:
        execute_together(cursor, *((setting, ()) for setting in _settings(organization_ids)))


def _settings(organization_ids: tuple[int, ...] | None) -> tuple[str, str]:
    """Return the two SET statements, which PostgreSQL does not need to plan."""
    role = _NO_ROLE if organization_ids is None else TENANT_ROLE
    listed = ",".join(str(int(pk)) for pk in organization_ids or ())
    return f"SET LOCAL role = {role}", f"SET LOCAL costtrack.organizations = '{listed}'"
