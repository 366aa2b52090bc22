"""Who may see and change what: one table for the API and the web UI.

A view of the API and a page of the web UI name the same resource, so both give a caller the same answer. The scopes of
a credential are its own; a role has scopes in the browser (`Role.scopes`).
"""

from dataclasses import dataclass

from organizations.types import Scope


@dataclass(frozen=True, slots=True)
class Resource:
    """`read` and `change` are the scopes that are needed to see it and to change it; None: none.

    `is_usage` marks what plans without API access do not show, and what is older than the plan's history is left out.
    """

    name: str
    read: Scope | None = Scope.MANAGE
    change: Scope | None = Scope.MANAGE
    is_usage: bool = False


USAGE = Resource("usage", Scope.COSTS_READ, is_usage=True)
OWN_USAGE = Resource("the own usage", None, None, is_usage=True)
LIMITS = Resource("limits", Scope.COSTS_READ)
INCREASE_REQUESTS = Resource("increase requests", Scope.COSTS_READ, Scope.COSTS_READ)
PRICES = Resource("prices", Scope.COSTS_READ)
NOTIFICATIONS = Resource("webhooks and deliveries", Scope.COSTS_READ)
ORGANIZATION = Resource("the organization", Scope.COSTS_READ)
CREDENTIALS = Resource("credentials")
MEMBERS = Resource("members")
TEAMS = Resource("teams")
EXPORTS = Resource("exports", Scope.COSTS_READ, Scope.COSTS_READ)
VIEWS = Resource("saved views", Scope.COSTS_READ, Scope.COSTS_READ)
UPLOADS = Resource("uploaded files")
AUDIT_LOG = Resource("the audit log")
REPORTS = Resource("reports by email", Scope.COSTS_READ, Scope.COSTS_READ, is_usage=True)
EMAIL_PREVIEWS = Resource("previews of emails")
