"""The overview of several organizations: the cost of today, limits that are near or reached, and queues that need
attention."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Link
from billing.admin.components.datetimes import local_time
from billing.admin.components.urls import admin_url, ledger_url
from billing.admin.limits.limit_summary_card import LimitOverview, LimitSummary, limit_card, limit_overview
from billing.ingest.validate import FUTURE_TOLERANCE
from billing.reports.overview import MAX_COUNTED, Backlog, Overview, list_overviews
from billing.reports.usage.figures import ZERO_FIGURES, Figures, UsageFilter
from billing.reports.usage.totals import spend_windows, totals
from costtrack.clock import utc_now
from costtrack.organization_paths import organization_url
from organizations.admin_request import request_user
from organizations.models import Organization
from organizations.permissions import USAGE
from organizations.plan_rights import PlanRights

_MAX_SHOWN = 12


@dataclass(frozen=True, slots=True)
class OrganizationCard:
    organization: Organization
    usage_url: str
    ledger_url: str
    cost: SafeString | str
    events: str
    last_received: SafeString | str
    queues: tuple[Link, ...]
    limits: LimitOverview
    limit_card: LimitSummary | None
    limits_url: str

    @property
    def is_new(self) -> bool:
        """Whether no event was ever received."""
        return self.last_received == formatting.NOTHING


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The index page's context; `UNFOLD["DASHBOARD_CALLBACK"]` names this function."""
    user = request_user(request)
    visible = Organization.objects.visible_to(user).select_related("plan").order_by("name", "id")
    if not user.is_superuser:
        visible = visible.filter(pk__in=[pk for pk, role in user.roles.items() if USAGE.read in role.scopes])
    shown = list(visible[: _MAX_SHOWN + 1])
    now = utc_now()
    figures = list_overviews(organizations=shown[:_MAX_SHOWN], since=now - timedelta(days=1))
    context["cards"] = [_card(each, now, is_operator=user.is_superuser) for each in figures]
    context["has_several"] = len(shown) > 1
    context["has_more"] = len(shown) > _MAX_SHOWN
    context["may_add"] = user.is_superuser
    return context


def _card(figures: Overview, now: datetime, *, is_operator: bool) -> OrganizationCard:
    spent = _spent_today(figures, now)
    limits = limit_overview(figures.organization, now=now)
    shows_usage = PlanRights(figures.organization, is_operator).api_refusal() is None
    return OrganizationCard(
        organization=figures.organization,
        usage_url=organization_url(figures.organization.slug, "usage"),
        ledger_url=ledger_url(figures.organization.pk),
        cost=formatting.cost(spent.cost_usd, spent.unpriced_events) if shows_usage else formatting.NOTHING,
        events="1 event" if figures.events == 1 else f"{formatting.count(figures.events)} events",
        last_received=local_time(figures.last_received_at),
        queues=tuple(queues(figures.organization, figures.backlog)),
        limits=limits,
        limit_card=limit_card(figures.organization, limits, now=now),
        limits_url=admin_url("billing_spendlimit_changelist", organization=figures.organization.pk),
    )


def _spent_today(figures: Overview, now: datetime) -> Figures:
    """Return the usage of the organization's day. Where nothing arrived since it began, it is not read."""
    today, *_ = spend_windows(figures.organization, now)
    last = figures.last_received_at
    if last is None or last < today.start - FUTURE_TOLERANCE:
        return ZERO_FIGURES
    return totals(organization=figures.organization, filters=UsageFilter(), windows=[today])[0]


def queues(organization: Organization, counts: Backlog) -> list[Link]:
    """Return links to the queues that are not empty: unpriced events and the quarantine."""
    rows = (
        (counts.unpriced, "billing_unpricedevent", "event has no price yet", "events have no price yet"),
        (counts.quarantined, "billing_quarantinedrecord", "record is in quarantine", "records are in quarantine"),
    )
    return [
        (_number(number, singular, plural), admin_url(f"{model}_changelist", organization=organization.pk))
        for number, model, singular, plural in rows
        if number
    ]


def _number(number: int, singular: str, plural: str) -> str:
    if number == MAX_COUNTED:
        return f"{number:,} or more {plural}"
    return f"{number:,} {singular if number == 1 else plural}"
