"""Roles, scopes and other types of the organizations app."""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from organizations.models import APICredential, Organization, User


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


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of a request: a credential (of one organization, or of an operator) or a user in the browser.

    `scopes` are those of a credential, or all for an operator; those of other users depend on the organization
    (`Access`).
    """

    credential: "APICredential | None" = None
    user: "User | None" = None
    scopes: frozenset[str] = frozenset()

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def is_operator(self) -> bool:
        """Operators run the installation, and may access every organization."""
        if self.credential is not None:
            return self.credential.organization_id is None
        return self.user is not None and self.user.is_superuser

    @property
    def organization(self) -> "Organization | None":
        """The organization of a credential; None for operators and users, for whom the URL decides."""
        return self.credential.organization if self.credential is not None else None

    @property
    def label(self) -> str:
        """The actor in the audit log."""
        if self.credential is not None:
            return self.credential.client_id
        return self.user.email if self.user is not None else "system"


class AccountEmailKind(models.TextChoices):
    """Kinds of account e-mails."""

    INVITATION = "invitation", "Invitation"
    PASSWORD_RESET = "password_reset", "Password reset"
    SECURITY_NOTICE = "security_notice", "Security notice"


@dataclass(frozen=True, slots=True)
class Access:
    """The permissions of a principal in one organization.

    Operators act as owners; a credential that may manage the organization acts as an admin, any other as a viewer.
    """

    principal: Principal
    organization: "Organization"
    role: Role
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class IssuedCredential:
    """A new or rotated credential with its secret, which is shown only once."""

    credential: "APICredential"
    client_secret: str = field(repr=False)
    previous_valid_until: datetime | None = None

    @property
    def api_key(self) -> str:
        """Client ID and secret, joined by a dot, for `Authorization: Bearer`."""
        return f"{self.credential.client_id}.{self.client_secret}"
