"""The check of a cached credential in the same message as the statement that its request is about.

Looking up the version of a credential is a message of its own, as expensive as storing an event. A request that writes
with one statement uses the cached credential instead, and sends the check in front of that statement. If the
credential, its organization or its plan has changed, PostgreSQL raises an error and runs nothing, and the request
begins again with the current credential (`organizations.api.base`). So a revocation takes effect with the next request.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connection

from costtrack.database.local_settings import execute_with
from costtrack.database.queries import fetch_rows

# organizations/migrations/sql/0002_credential_version.sql and 0004_check_credential.sql.
_VERSION = "SELECT organizations_credential_version(%s)"
_CHANGED = "CT001"


class CredentialChangedError(Exception):
    """The cached credential is outdated; nothing was written."""


@dataclass(eq=False, slots=True)
class CredentialCheck:
    """The pending check of one request."""

    client_id: str
    version: str
    is_made: bool = False

    @property
    def statement(self) -> str:
        # A client id and a version contain no quotes, and the client id was found in the database before.
        return f"SELECT organizations_check_credential('{self.client_id}', '{self.version}')"

    def make(self) -> None:
        """Check now, unless a statement has done it. Raises CredentialChangedError."""
        if not self.is_made and read_version(self.client_id) != self.version:
            raise CredentialChangedError
        self.is_made = True


def read_version(client_id: str) -> str | None:
    """Return the combined version of a credential, its organization and its plan, or None if it does not exist."""
    ((version,),) = fetch_rows(_VERSION, [client_id])
    return None if version is None else str(version)


@contextmanager
def make_with_next_statement(checks: Iterable[CredentialCheck | None]) -> Iterator[None]:
    """Send the pending checks in front of the next statement. The statement raises CredentialChangedError, and is not
    run, if one of the credentials has changed. Use it inside the tenant scope: the checks come before its settings."""
    pending = [check for check in checks if check is not None and not check.is_made]
    statements = list({check.statement for check in pending})

    def execute_after_checks(
        execute: Callable[..., Any],
        statement: Any,
        parameters: Any,
        many: bool,  # noqa: FBT001 - Django's signature
        context: dict[str, Any],
    ) -> Any:
        before = [] if all(check.is_made for check in pending) else statements
        try:
            result = execute_with(before, execute, statement, parameters, many=many, context=context)
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", None) == _CHANGED:
                raise CredentialChangedError from error
            raise
        for check in pending:
            check.is_made = True
        return result

    if not pending:
        yield
        return
    with connection.execute_wrapper(execute_after_checks):
        yield
