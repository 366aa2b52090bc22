"""The check of all actions that grant scopes: a caller cannot grant a scope that it does not have.

It applies to issuing and rotating credentials (the response contains a new secret), and to adding, promoting and
inviting members, because a role implies scopes. Revoking a credential, or removing or demoting a member, needs no
scopes.
"""

from collections.abc import Collection

from costtrack.errors import ForbiddenError
from organizations.types import Scope


def check_can_grant(scopes: Collection[str], caller_scopes: Collection[str], *, param: str | None = None) -> None:
    """Raise ForbiddenError with the missing scopes unless the caller has all of `scopes`."""
    missing = [scope for scope in Scope.values if scope in scopes and scope not in caller_scopes]
    if missing:
        message = f"You cannot grant scopes that you do not have: {', '.join(missing)}."
        raise ForbiddenError(message, code="scope_not_held", param=param)
