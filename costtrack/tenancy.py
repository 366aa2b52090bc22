"""PostgreSQL row-level security behind the code (design decision 11).

Inside `tenant_scope` the connection acts as the role `costtrack_tenant`, for which every table with an
`organization` column shows, and accepts, only the named organizations' rows. Both settings are local to the
transaction, so they end with it and a transaction pooler cannot carry them to somebody else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection, transaction

TENANT_ROLE = "costtrack_tenant"
_NO_ROLE = "none"

_scope: ContextVar[tuple[int, ...] | None] = ContextVar("costtrack_tenant_scope", default=None)


@contextmanager
def tenant_scope(*organization_ids: int) -> Iterator[None]:
    """One transaction that sees nothing but these organizations' rows. An inner scope replaces the outer one until
    it ends."""
    with _transaction(organization_ids):
        yield


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
        _scope.reset(token)


def _enter(organization_ids: tuple[int, ...] | None) -> None:
    """Two settings with one statement to send, of a kind that PostgreSQL has nothing to plan about."""
    role = _NO_ROLE if organization_ids is None else TENANT_ROLE
    listed = ",".join(str(int(pk)) for pk in organization_ids or ())
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL role = {role}; SET LOCAL costtrack.organizations = '{listed}'")
