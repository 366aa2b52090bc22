"""The one check behind everything that gives scopes away: a caller cannot give a scope that it lacks.

It covers credentials that are issued or rotated (their new secret is in the answer) and members that are added,
promoted or invited, because a member's role implies scopes. Taking away, by revoking a credential or by removing or
demoting a member, needs no scope of what is taken.
"""

from collections.abc import Collection

from costtrack.errors import ForbiddenError
from organizations.types import Scope


def check_held(scopes: Collection[str], held_scopes: Collection[str], *, param: str | None = None) -> None:
    """Raise ForbiddenError, with the missing scopes, unless the actor holds all of `scopes`."""
    missing = [scope for scope in Scope.values if scope in scopes and scope not in held_scopes]
    if missing:
        message = f"You cannot give scopes that you lack: {', '.join(missing)}."
        raise ForbiddenError(message, code="scope_not_held", param=param)
