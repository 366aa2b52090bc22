"""Words that the organizations app shares with everything above it."""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from organizations.models import APICredential, Organization, User


class Role(models.TextChoices):
    """What a member may do. An owner is an admin who also manages owners."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    VIEWER = "viewer", "Viewer"

    @property
    def may_change(self) -> bool:
        return self is not Role.VIEWER

    @property
    def scopes(self) -> "frozenset[str]":
        """What a member with this role may do in the browser, in the words of credentials' scopes."""
        return ALL_SCOPES if self.may_change else frozenset({Scope.COSTS_READ})


class Scope(models.TextChoices):
    """What a credential may do."""

    USAGE_WRITE = "usage:write", "Send usage"
    COSTS_READ = "costs:read", "Read costs"
    LIMITS_AUTHORIZE = "limits:authorize", "Ask whether a call may go ahead"
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
    """Where a credential is used; dashboards can tell the traffic apart by it."""

    PRODUCTION = "production", "Production"
    STAGING = "staging", "Staging"
    DEVELOPMENT = "development", "Development"


@dataclass(frozen=True, slots=True)
class OrganizationName:
    """What a list of organizations to choose from needs of each."""

    id: int
    slug: str
    name: str

    def sort_key(self) -> tuple[str, str, int]:
        """By name, without regard to case and accents, which the database's order depends on its locale for."""
        letters = unicodedata.normalize("NFKD", self.name)
        plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
        return plain.casefold(), self.name, self.id


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request: a credential (of one organization, or of an operator) or a person in the browser.

    `scopes` are a credential's, or all of them for an operator; what other people may do depends on the organization
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
        """Operators run the installation: they reach every organization."""
        if self.credential is not None:
            return self.credential.organization_id is None
        return self.user is not None and self.user.is_superuser

    @property
    def organization(self) -> "Organization | None":
        """The organization a credential belongs to; None for operators and for people, whom the URL tells."""
        return self.credential.organization if self.credential is not None else None

    @property
    def label(self) -> str:
        """How the audit log names the actor."""
        if self.credential is not None:
            return self.credential.client_id
        return self.user.email if self.user is not None else "system"


class AccountEmailKind(models.TextChoices):
    """E-mails about a person's account."""

    INVITATION = "invitation", "Invitation"
    PASSWORD_RESET = "password_reset", "Password reset"
    SECURITY_NOTICE = "security_notice", "Security notice"


@dataclass(frozen=True, slots=True)
class Access:
    """What a principal may do in one organization.

    Operators act as owners; a credential that may manage the organization acts as an admin, any other as a viewer.
    """

    principal: Principal
    organization: "Organization"
    role: Role
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class IssuedCredential:
    """A credential with the secret that is shown once and never again."""

    credential: "APICredential"
    client_secret: str = field(repr=False)
    previous_valid_until: datetime | None = None

    @property
    def api_key(self) -> str:
        """One string for `Authorization: Bearer`: client id and secret, joined by a dot."""
        return f"{self.credential.client_id}.{self.client_secret}"
