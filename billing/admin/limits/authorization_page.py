"""What one authorization's page says: how much it held, what became of it, and of which call it was."""

from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.formatting import Fact
from billing.models import Authorization, UsageEvent
from billing.types import AuthorizationStatus

_MAX_EVENTS = 20
# An event that settles is received when its authorization ends, so it is found by its id, which tells that time.
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
    sections: tuple[tuple[str, list[Fact]], ...]


def authorization_page(authorization: Authorization, *, now: datetime) -> AuthorizationPage:
    call, identity = formatting.present(_call(authorization)), formatting.present(_identity(authorization))
    return AuthorizationPage(
        amount=formatting.exact(authorization.amount_usd),
        sentence=_sentence(authorization, now),
        badge=badge(authorization, now=now),
        events=tuple(map(_event, _settling_events(authorization))),
        sections=(("Call", call), ("Identity", identity)),
    )


def status_now(authorization: Authorization, now: datetime) -> AuthorizationStatus:
    """A reservation is over when its time is, also before a worker has marked it."""
    status = AuthorizationStatus(authorization.status)
    is_over = status is AuthorizationStatus.RESERVED and authorization.expires_at <= now
    return AuthorizationStatus.EXPIRED if is_over else status


def badge(authorization: Authorization, *, now: datetime) -> SafeString:
    status = status_now(authorization, now)
    return formatting.badge(status.label, _BADGES[status])


def _sentence(authorization: Authorization, now: datetime) -> str:
    match status_now(authorization, now):
        case AuthorizationStatus.SETTLED:
            return f"The call's event has taken its place: it cost {formatting.exact(authorization.settled_usd)}."
        case AuthorizationStatus.RELEASED:
            return "Given back before any event settled it. It holds nothing any more."
        case AuthorizationStatus.EXPIRED:
            return "Its time was over before any event settled it. It holds nothing any more."
    return (
        f"Held of every limit that covers the call, until {formatting.instant(authorization.expires_at)} UTC at most."
    )


def _settling_events(authorization: Authorization) -> list[UsageEvent]:
    events = UsageEvent.objects.of(authorization.organization).filter(authorization_id=authorization.pk)
    return list(events.order_by("id")[:_MAX_EVENTS])


def _event(event: UsageEvent) -> SettlingEvent:
    return SettlingEvent(
        formatting.page("billing_usageevent", id=event.pk),
        event.event_id or event.model or event.get_kind_display(),
        formatting.instant(event.occurred_at),
        "Not known yet" if event.cost_usd is None else formatting.exact(event.cost_usd),
    )


def _call(authorization: Authorization) -> list[tuple[str, SafeString | str]]:
    run_id = authorization.run_id
    run = formatting.link(formatting.ledger(authorization.organization_id, run=run_id), run_id) if run_id else ""
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
        ("Asked with", formatting.sender(authorization.credential_id, authorization.credential)),
        ("Asked for (UTC)", formatting.instant(authorization.created_at)),
        ("Expires (UTC)", formatting.instant(authorization.expires_at)),
        ("Ended (UTC)", formatting.instant(authorization.ended_at)),
    ]


def open_authorizations(organization_id: int) -> str:
    """The address of the list of what is held now."""
    query = urlencode({"organization": str(organization_id), "status": AuthorizationStatus.RESERVED.value})
    return f"{reverse('admin:billing_authorization_changelist')}?{query}"
