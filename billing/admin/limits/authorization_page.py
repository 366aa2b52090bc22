"""The content of an authorization's page: its amount, its status, and its call."""

from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.formatting import Detail
from billing.models import Authorization, UsageEvent
from billing.types import AuthorizationStatus

_MAX_EVENTS = 20
# Badge colors by status.
_BADGES = {
    AuthorizationStatus.RESERVED: "info",
    AuthorizationStatus.SETTLED: "success",
    AuthorizationStatus.RELEASED: "",
    AuthorizationStatus.EXPIRED: "warning",
}


@dataclass(frozen=True, slots=True)
class SettlingEvent:
    url: str
    name: str
    occurred: str
    cost: str


@dataclass(frozen=True, slots=True)
class AuthorizationPage:
    amount: str
    sentence: str
    badge: SafeString
    events: tuple[SettlingEvent, ...]
    sections: tuple[tuple[str, list[Detail]], ...]


def authorization_page(authorization: Authorization, *, now: datetime) -> AuthorizationPage:
    call, identity = formatting.without_empty(_call(authorization)), formatting.without_empty(_identity(authorization))
    return AuthorizationPage(
        amount=formatting.exact(authorization.amount_usd),
        sentence=_sentence(authorization, now),
        badge=badge(authorization, now=now),
        events=tuple(map(_event, _settling_events(authorization))),
        sections=(("Call", call), ("Identity", identity)),
    )


def status_now(authorization: Authorization, now: datetime) -> AuthorizationStatus:
    """Return the status; a reservation is expired as soon as its time is over, before a worker marks it."""
    status = AuthorizationStatus(authorization.status)
    is_over = status is AuthorizationStatus.RESERVED and authorization.expires_at <= now
    return AuthorizationStatus.EXPIRED if is_over else status


def badge(authorization: Authorization, *, now: datetime) -> SafeString:
    status = status_now(authorization, now)
    return formatting.badge(status.label, _BADGES[status])


def _sentence(authorization: Authorization, now: datetime) -> str:
    match status_now(authorization, now):
        case AuthorizationStatus.SETTLED:
            return f"Settled by the call's event, which cost {formatting.exact(authorization.settled_usd)}."
        case AuthorizationStatus.RELEASED:
            return "Released before any event settled it. Nothing is reserved."
        case AuthorizationStatus.EXPIRED:
            return "Expired before any event settled it. Nothing is reserved."
    return f"Reserved from every limit that covers the call until {formatting.instant(authorization.expires_at)} UTC."


def _settling_events(authorization: Authorization) -> list[UsageEvent]:
    events = UsageEvent.objects.of(authorization.organization).filter(authorization_id=authorization.pk)
    return list(events.order_by("id")[:_MAX_EVENTS])


def _event(event: UsageEvent) -> SettlingEvent:
    return SettlingEvent(
        formatting.change_url("billing_usageevent", id=event.pk),
        event.event_id or event.model or event.get_kind_display(),
        formatting.instant(event.occurred_at),
        "Not known yet" if event.cost_usd is None else formatting.exact(event.cost_usd),
    )


def _call(authorization: Authorization) -> list[tuple[str, SafeString | str]]:
    run_id = authorization.run_id
    run = formatting.link(formatting.ledger_url(authorization.organization_id, run=run_id), run_id) if run_id else ""
    return [
        ("Organization", authorization.organization.name),
        ("Service", authorization.service),
        ("Model", authorization.model),
        ("User", authorization.user_ref),
        ("Workflow", authorization.workflow_id),
        ("Run", run),
        ("Session", authorization.session_id),
        ("Tags", ", ".join(authorization.tags)),
    ]


def _identity(authorization: Authorization) -> list[tuple[str, str]]:
    return [
        ("Id", str(authorization.pk)),
        ("Idempotency key", authorization.idempotency_key),
        ("Requested with", formatting.sender(authorization.credential_id, authorization.credential)),
        ("Requested (UTC)", formatting.instant(authorization.created_at)),
        ("Expires (UTC)", formatting.instant(authorization.expires_at)),
        ("Ended (UTC)", formatting.instant(authorization.ended_at)),
    ]


def open_authorizations(organization_id: int) -> str:
    """Return the URL of the list of open authorizations."""
    query = urlencode({"organization": str(organization_id), "status": AuthorizationStatus.RESERVED.value})
    return f"{reverse('admin:billing_authorization_changelist')}?{query}"
