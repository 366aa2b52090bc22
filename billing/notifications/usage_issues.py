"""Notices about usage that needs a review: models without a price, and flagged usage.

Each model is in one notice per reason or flag. The first notice of a kind is written immediately; issues of the
following hour are collected in the next one.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from billing.models import Notice, UsageIssue
from billing.notifications.outbox import notify
from billing.types import NoticeKind, UnpricedReason
from costtrack.clock import iso
from costtrack.tenancy import tenant_scope
from organizations.failures import log_failure
from organizations.models import Organization

MAX_LISTED = 20
INTERVAL = timedelta(hours=1)
_MAX_CLAIMED = 1_000
# Fixed by a price or by setting the cost. All other issues are about how the usage was sent or read.
PRICE_REASONS = (
    UnpricedReason.NO_PRICE.value,
    UnpricedReason.NO_UNIT_PRICE.value,
    UnpricedReason.NO_CONDITION_PRICE.value,
)


def notify_all_usage_issues(*, now: datetime) -> int:
    """Write the notices of every organization with something new; return their number."""
    pending = UsageIssue.objects.filter(notified_at=None).values("organization_id")
    notices = 0
    for organization in Organization.objects.open().filter(pk__in=pending):
        with log_failure(organization.pk, "notices about usage could not be written"):
            notices += notify_usage_issues(organization=organization, now=now)
    return notices


def notify_usage_issues(*, organization: Organization, now: datetime) -> int:
    """Write a notice for each kind with something new, at most one an hour; return their number."""
    return sum(_notify(organization, kind, now) for kind in (NoticeKind.UNPRICED_USAGE, NoticeKind.FLAGGED_USAGE))


def _notify(organization: Organization, kind: NoticeKind, now: datetime) -> bool:
    with tenant_scope(organization.pk), transaction.atomic():
        if Notice.objects.of(organization).filter(kind=kind, created_at__gt=now - INTERVAL).exists():
            return False
        issues = _claim(organization, kind)
        if not issues:
            return False
        UsageIssue.objects.of(organization).filter(pk__in=[issue.pk for issue in issues]).update(notified_at=now)
        notify(
            organization=organization,
            kind=kind,
            subject=f"{organization.name}: {_sentence(kind, issues)}",
            data=_data(organization, issues, now),
            now=now,
        )
    return True


def _claim(organization: Organization, kind: NoticeKind) -> list[UsageIssue]:
    """Lock the issues without a notice, oldest first; those locked by another worker are skipped."""
    issues = UsageIssue.objects.of(organization).filter(notified_at=None)
    about_prices = {"code__in": PRICE_REASONS}
    is_unpriced = kind is NoticeKind.UNPRICED_USAGE
    issues = issues.filter(**about_prices) if is_unpriced else issues.exclude(**about_prices)
    return list(issues.order_by("pk").select_for_update(skip_locked=True)[:_MAX_CLAIMED])


def _sentence(kind: NoticeKind, issues: Sequence[UsageIssue]) -> str:
    models = list(dict.fromkeys(issue.model or "calls without a model" for issue in issues))
    name = models[0] if len(models) == 1 else f"{len(models):,} models"
    if kind is NoticeKind.UNPRICED_USAGE:
        return f"{name} {'has' if len(models) == 1 else 'have'} no price"
    return f"usage of {name} needs a review"


def _data(organization: Organization, issues: Sequence[UsageIssue], now: datetime) -> dict[str, Any]:
    listed = [
        {
            "service": issue.service,
            "model": issue.model,
            "code": issue.code,
            "detail": issue.detail,
            "event_id": str(issue.event_id),
            "occurred_at": iso(issue.occurred_at),
        }
        for issue in issues[:MAX_LISTED]
    ]
    return {
        "organization": organization.slug,
        "issues": listed,
        "more": len(issues) - len(listed),
        "as_of": iso(now),
        "time_zone": organization.time_zone,
    }
