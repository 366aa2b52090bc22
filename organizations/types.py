"""Roles, scopes and other types of the organizations app."""

import unicodedata
from dataclasses import dataclass

from django.db import models


class Role(models.TextChoices):
    """A member's role. An owner is an admin who may also manage owners."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    VIEWER = "viewer", "Viewer"

    @property
    def may_change(self) -> bool:
        return self is not Role.VIEWER

    @property
    def scopes(self) -> "frozenset[str]":
        """The scopes of a member with this role in the browser."""
        return ALL_SCOPES if self.may_change else frozenset({Scope.COSTS_READ})


class Scope(models.TextChoices):
    """A permission of a credential."""

    USAGE_WRITE = "usage:write", "Send usage"
    COSTS_READ = "costs:read", "Read costs"
    LIMITS_AUTHORIZE = "limits:authorize", "Authorize calls"
    MANAGE = "manage", "Manage the organization"


ALL_SCOPES: frozenset[str] = frozenset(Scope.values)


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
    """Kinds of account e-mails."""

    INVITATION = "invitation", "Invitation"
    PASSWORD_RESET = "password_reset", "Password reset"
    SECURITY_NOTICE = "security_notice", "Security notice"
