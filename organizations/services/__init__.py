"""Services: each function is one change, in one transaction, with its entry in the audit log.

The caller checks that the actor may perform the action at all. Rules that depend on data, such as which scopes may be
granted or who may add an owner, are checked here. `actor` is the name in the audit log.
"""

from organizations.services.closing import (
    close_organization,
    finish_deletion,
    remind_owners,
    reopen_organization,
)
from organizations.services.credentials import (
    MAX_GRACE,
    IssuedCredential,
    issue_credential,
    revoke_credential,
    rotate_credential,
)
from organizations.services.members import (
    accept_membership,
    add_member,
    change_role,
    change_user_ids,
    invite_again,
    leave,
    remove_member,
)
from organizations.services.organizations import (
    change_slug,
    compare_users,
    create_organization,
    follow_changed_plan,
    lock_organization,
    require_second_factor,
    update_organization,
)
from organizations.services.teams import create_team, remove_team, update_team

__all__ = [
    "MAX_GRACE",
    "IssuedCredential",
    "accept_membership",
    "add_member",
    "change_role",
    "change_slug",
    "change_user_ids",
    "close_organization",
    "compare_users",
    "create_organization",
    "create_team",
    "finish_deletion",
    "follow_changed_plan",
    "invite_again",
    "issue_credential",
    "leave",
    "lock_organization",
    "remind_owners",
    "remove_member",
    "remove_team",
    "reopen_organization",
    "require_second_factor",
    "revoke_credential",
    "rotate_credential",
    "update_organization",
    "update_team",
]
