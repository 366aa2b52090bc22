"""The page people come to first: their organizations, what was recorded lately, which limits are near or reached, and
what waits for somebody."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from billing.admin import formats
from billing.admin.limit_overview import LimitOverview, limit_overview
from billing.reports.overview import MOST_COUNTED, Overview, overviews
from costtrack.clock import utc_now
from costtrack.money import usd
from organizations.admin_request import person_of
from organizations.models import Organization

_MOST_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Queue:
    """Something that waits, in words, and where to look at it."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Card:
    organization: Organization
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
        return self.last_received == formats.NOTHING


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The index page's context; `UNFOLD["DASHBOARD_CALLBACK"]` names this function."""
    person = person_of(request)
    visible = Organization.objects.visible_to(person).select_related("plan").order_by("name", "id")
    shown = list(visible[: _MOST_SHOWN + 1])
    now = utc_now()
    figures = overviews(organizations=shown[:_MOST_SHOWN], since=now - timedelta(days=1))
    context["cards"] = [_card(one, now) for one in figures]
    context["has_more"] = len(shown) > _MOST_SHOWN
    context["may_add"] = person.is_superuser
    return context


def _card(one: Overview, now: datetime) -> Card:
    query = urlencode({"organization": one.organization.pk})
    return Card(
        organization=one.organization,
        ledger_url=formats.ledger(one.organization.pk),
        cost=usd(one.cost_usd),
        events=formats.count(one.events),
        last_received=formats.instant(one.last_received_at),
        queues=tuple(_queues(one)),
        limits=limit_overview(one.organization, now=now),
        limits_url=f"{reverse('admin:billing_spendlimit_changelist')}?{query}",
    )


def _queues(one: Overview) -> list[Queue]:
    waiting = (
        (one.unpriced, "billing_unpricedevent", "event waits for a price", "events wait for a price"),
        (one.quarantined, "billing_quarantinedrecord", "record is in quarantine", "records are in quarantine"),
    )
    query = urlencode({"organization": one.organization.pk})
    return [
        Queue(_number(number, singular, plural), f"{reverse(f'admin:{model}_changelist')}?{query}")
        for number, model, singular, plural in waiting
        if number
    ]


def _number(number: int, singular: str, plural: str) -> str:
    if number == MOST_COUNTED:
        return f"{number:,} or more {plural}"
    return f"{number:,} {singular if number == 1 else plural}"
