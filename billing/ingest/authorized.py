"""What authorizations were granted for: the dimensions that their events are charged to.

An event that leaves out a dimension takes it from its authorization, so it counts under the limits that reserved its
cost. If it names another value, it is stored as sent, with a flag.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from billing.ingest.types import UsageEventInput
from billing.ledger.types import LedgerEntry
from billing.models import Authorization
from billing.pricing.canonical import service_name
from billing.types import AUTHORIZATION_MISMATCH_FLAG
from costtrack.tenancy import tenant_reads
from organizations.models import Organization

_MAX_KNOWN = 8192


class AuthorizedCall(NamedTuple):
    """The dimensions of an authorization, named as in the ledger."""

    credential_id: int | None
    environment: str
    service: str
    model: str
    sent_model: str
    capability: str
    agent_id: str
    user_ref: str
    end_user: str
    team: str
    workflow_id: str
    run_id: str
    session_id: str
    tags: list[str]


# Names of the dimensions in the API, by those in the ledger.
_NAMES = ("end_user", "team", "agent_id", "capability", "workflow_id", "run_id", "session_id")
_TEXTS = {"user_ref": "user_id", **{name: name for name in _NAMES}}

_known: dict[tuple[int, UUID], AuthorizedCall] = {}
"""Authorizations that this process has granted or read lately. Their dimensions never change."""


def remember(authorization: Authorization) -> AuthorizedCall:
    """Cache the dimensions of an authorization, so that its event needs no query in this process."""
    if len(_known) >= _MAX_KNOWN:
        _known.clear()
    call = AuthorizedCall._make(getattr(authorization, name) for name in AuthorizedCall._fields)
    _known[authorization.organization_id, authorization.id] = call
    return call


def authorized_calls(organization: Organization, events: Iterable[UsageEventInput]) -> Mapping[UUID, AuthorizedCall]:
    """Return what the authorizations that the events name were granted for. Unknown authorizations are left out."""
    named = {event.authorization_id for event in events if event.authorization_id is not None}
    found = {pk: call for pk in named if (call := _known.get((organization.pk, pk))) is not None}
    if len(found) < len(named):
        with tenant_reads(organization.pk):
            rows = Authorization.objects.of(organization).filter(id__in=named - found.keys())
            found |= {row.id: remember(row) for row in rows}
    return found


def fill(entry: LedgerEntry, call: AuthorizedCall) -> None:
    """Set the dimensions that the event leaves out. The credential is always that of the authorization."""
    if call.credential_id is not None:
        entry.credential_id, entry.environment = call.credential_id, call.environment
    entry.service = entry.service or call.service
    entry.model = entry.model or call.sent_model or call.model
    for name in _TEXTS:
        if not getattr(entry, name):
            setattr(entry, name, getattr(call, name))
    tags = entry.tags or []
    entry.tags = [*tags, *(tag for tag in call.tags if tag not in tags)] or None


def flag_mismatches(entry: LedgerEntry, call: AuthorizedCall) -> None:
    """Flag dimensions of the event that are not those of its authorization."""
    details = [
        f"{api_name}: {getattr(entry, name)}, authorized: {getattr(call, name)}"
        for name, api_name in _TEXTS.items()
        if getattr(call, name) and getattr(entry, name) != getattr(call, name)
    ]
    if call.model and entry.model != call.model:
        details.append(f"model: {entry.model}, authorized: {call.model}")
    if call.service and service_name(entry.service or "") != service_name(call.service):
        details.append(f"service: {entry.service}, authorized: {call.service}")
    if details:
        flag = {"code": AUTHORIZATION_MISMATCH_FLAG, "detail": "; ".join(details)}
        entry.flags = [*(entry.flags or ()), flag]
