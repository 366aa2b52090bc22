"""The caller of a request, and what the caller may do in an organization."""

from dataclasses import dataclass

from organizations.models import APICredential, Organization, User
from organizations.types import Role


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of a request: a credential (of one organization, or of an operator) or a user in the browser.

    `scopes` are those of a credential, or all for an operator; those of other users depend on the organization
    (`Access`).
    """

    credential: APICredential | None = None
    user: User | None = None
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
    def organization(self) -> Organization | None:
        """The organization of a credential; None for operators and users, for whom the URL decides."""
        return self.credential.organization if self.credential is not None else None

    @property
    def label(self) -> str:
        """The actor in the audit log."""
        if self.credential is not None:
            return self.credential.client_id
        return self.user.email if self.user is not None else "system"


@dataclass(frozen=True, slots=True)
class Access:
    """The permissions of a principal in one organization.

    Operators act as owners; a credential that may manage the organization acts as an admin, any other as a viewer.
    """

    principal: Principal
    organization: Organization
    role: Role
    scopes: frozenset[str]
