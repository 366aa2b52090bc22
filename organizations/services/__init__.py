"""Services: each function is one change, in one transaction, with its entry in the audit log.

The caller checks that the actor may perform the action at all. Rules that depend on data, such as which scopes may be
granted or who may add an owner, are checked here. `actor` is the name in the audit log.
"""

from organizations.services.credentials import (
    MAX_GRACE,
    IssuedCredential,
    issue_credential,
    revoke_credential,
    rotate_credential,
)
from organizations.services.members import add_member, change_role, invite_again, remove_member
from organizations.services.organizations import (
    compare_users,
    create_organization,
    follow_changed_plan,
    require_second_factor,
    update_organization,
)

__all__ = [
    "MAX_GRACE",
    "IssuedCredential",
    "add_member",
    "change_role",
    "compare_users",
    "create_organization",
    "follow_changed_plan",
    "invite_again",
    "issue_credential",
    "remove_member",
    "require_second_factor",
    "revoke_credential",
    "rotate_credential",
    "update_organization",
]
