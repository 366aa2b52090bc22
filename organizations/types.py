"""Roles, scopes and other types of the organizations app."""

import unicodedata
from dataclasses import dataclass

from django.db import models


class Role(models.TextChoices):
    """A member's role. An owner is an admin who may also manage owners; a member sees only the own usage."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    VIEWER = "viewer", "Viewer"
    MEMBER = "member", "Member"

    @property
    def may_change(self) -> bool:
        return self in (Role.OWNER, Role.ADMIN)

    @property
    def scopes(self) -> "frozenset[str]":
        """The scopes of a member with this role in the browser."""
        if self is Role.MEMBER:
            return frozenset()
        return ALL_SCOPES if self.may_change else frozenset({Scope.COSTS_READ})


class Scope(models.TextChoices):
    """A permission of a credential."""

    USAGE_WRITE = "usage:write", "Send usage"
    COSTS_READ = "costs:read", "Read costs"
    LIMITS_AUTHORIZE = "limits:authorize", "Authorize calls"
    MANAGE = "manage", "Manage the organization"


ALL_SCOPES: frozenset[str] = frozenset(Scope.values)


class MembershipState(models.TextChoices):
    """Whether a membership counts."""

    INVITED = "invited", "Invited"
    JOINED = "joined", "Joined"


class SecurityEventKind(models.TextChoices):
    """Kinds of entries of the security log."""

    SIGNED_IN = "signed_in", "Signed in"
    SIGNED_OUT = "signed_out", "Signed out"
    SIGN_IN_FAILED = "sign_in_failed", "Sign-in failed"
    LOCKED_OUT = "locked_out", "Too many attempts"
    RESET_REQUESTED = "reset_requested", "Password reset requested"
    PASSWORD_CHANGED = "password_changed", "Password changed"
    FACTOR_FAILED = "factor_failed", "Second factor failed"
    FACTOR_ADDED = "factor_added", "Second factor added"
    FACTOR_REMOVED = "factor_removed", "Second factor removed"


class WeekDay(models.IntegerChoices):
    """ISO 8601 numbers: the day an organization's week starts on."""

    MONDAY = 1, "Monday"
    TUESDAY = 2, "Tuesday"
    WEDNESDAY = 3, "Wednesday"
    THURSDAY = 4, "Thursday"
    FRIDAY = 5, "Friday"
    SATURDAY = 6, "Saturday"
    SUNDAY = 7, "Sunday"


class Environment(models.TextChoices):
    """Where a credential is used; dashboards can filter by it."""

    PRODUCTION = "production", "Production"
    STAGING = "staging", "Staging"
    DEVELOPMENT = "development", "Development"


@dataclass(frozen=True, slots=True)
class OrganizationName:
    """An organization in a list of choices."""

    id: int
    slug: str
    name: str

    def sort_key(self) -> tuple[str, str, int]:
        """Sort by name, ignoring case and accents, independent of the database's locale."""
        letters = unicodedata.normalize("NFKD", self.name)
        plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
        return plain.casefold(), self.name, self.id


class AccountEmailKind(models.TextChoices):
    """Kinds of account emails."""

    INVITATION = "invitation", "Invitation"
    PASSWORD_RESET = "password_reset", "Password reset"
    SECURITY_NOTICE = "security_notice", "Security notice"
    CLOSING = "closing", "Organization is closing"
    CLOSING_SOON = "closing_soon", "Organization closes soon"
    REOPENED = "reopened", "Organization reopened"
    DELETED = "deleted", "Organization deleted"
