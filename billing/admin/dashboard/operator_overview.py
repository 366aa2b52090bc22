"""The page that those come to first who look after several organizations: what was recorded lately in each of them,
which limits are near or reached, and what waits for somebody."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from billing.admin.components import formatting
from billing.admin.limits.limit_summary_card import LimitOverview, limit_overview
from billing.reports.overview import MAX_COUNTED, Overview, Waiting, overviews
from costtrack.clock import utc_now
from costtrack.money import usd
from costtrack.organization_paths import for_organization
from organizations.admin_request import person_of
from organizations.models import Organization

_MAX_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Queue:
    """Something that waits, in words, and where to look at it."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Card:
    organization: Organization
    usage_url: str
    ledger_url: str
    cost: str
    events: str
    last_received: str
    queues: tuple[Queue, ...]
    limits: LimitOverview
    limits_url: str

    @property
    def is_new(self) -> bool:
        """Nothing has ever been sent."""
        return self.last_received == formatting.NOTHING


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The index page's context; `UNFOLD["DASHBOARD_CALLBACK"]` names this function."""
    person = person_of(request)
    visible = Organization.objects.visible_to(person).select_related("plan").order_by("name", "id")
    shown = list(visible[: _MAX_SHOWN + 1])
    now = utc_now()
    figures = overviews(organizations=shown[:_MAX_SHOWN], since=now - timedelta(days=1))
    context["cards"] = [_card(one, now) for one in figures]
    context["has_several"] = len(shown) > 1
    context["has_more"] = len(shown) > _MAX_SHOWN
    context["may_add"] = person.is_superuser
    return context


def _card(one: Overview, now: datetime) -> Card:
    return Card(
        organization=one.organization,
        usage_url=for_organization(one.organization.slug, "usage"),
        ledger_url=formatting.ledger(one.organization.pk),
        cost=usd(one.cost_usd),
        events=formatting.count(one.events),
        last_received=formatting.instant(one.last_received_at),
        queues=tuple(queues(one.organization, one.waiting)),
        limits=limit_overview(one.organization, now=now),
        limits_url=formatting.limits(one.organization.pk),
    )


def queues(organization: Organization, found: Waiting) -> list[Queue]:
    """What waits for somebody, and where."""
    waiting = (
        (found.unpriced, "billing_unpricedevent", "event waits for a price", "events wait for a price"),
        (found.quarantined, "billing_quarantinedrecord", "record is in quarantine", "records are in quarantine"),
    )
    query = urlencode({"organization": organization.pk})
    return [
        Queue(_number(number, singular, plural), f"{reverse(f'admin:{model}_changelist')}?{query}")
        for number, model, singular, plural in waiting
        if number
    ]


def _number(number: int, singular: str, plural: str) -> str:
    if number == MAX_COUNTED:
        return f"{number:,} or more {plural}"
    return f"{number:,} {singular if number == 1 else plural}"
