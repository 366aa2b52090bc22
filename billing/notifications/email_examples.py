"""An example notice of each kind, for the email previews in the admin and for tests."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.models import Notice
from billing.types import LimitAction, LimitScope, LimitState, LimitWindow, NoticeKind, ReportFrequency, ReportScope
from costtrack.calendar import Unit
from costtrack.clock import DAY, HOUR, iso, start_of_hour
from costtrack.money import ZERO, plain
from organizations.models import Organization

_WEEKLY = {
    "id": 1,
    "scope": LimitScope.ORGANIZATION.value,
    "scope_value": "",
    "window": LimitWindow.ROLLING_7D.value,
    "amount_usd": "100",
    "action": LimitAction.PAUSE.value,
}
_OF_ADA = {**_WEEKLY, "scope": LimitScope.USER.value, "scope_value": "ada", "window": LimitWindow.CALENDAR_MONTH.value}


def example_organization() -> Organization:
    """Return an organization that is not stored."""
    return Organization(slug="acme", name="Acme Research", time_zone="Europe/Berlin")


def example_notice(kind: NoticeKind, *, now: datetime) -> Notice:
    """Return a notice that is not stored."""
    subject, data = _examples(now)[kind]
    return Notice(kind=kind, subject=subject, data={"organization": "acme", **data}, created_at=now)


def _examples(now: datetime) -> dict[NoticeKind, tuple[str, dict[str, Any]]]:
    request = {
        "id": 7,
        "amount_usd": "250",
        "until": iso(now + 72 * HOUR),
        "reason": "The evaluation of the new model runs until Friday and needs about three times as many calls.",
        "requested_by": "ada@acme.example",
        "answer": None,
        "answered_by": None,
    }
    granted = {**request, "answer": "Fine until Friday.", "answered_by": "brin@acme.example"}
    declined = {**granted, "answer": "Please use the smaller model for the first pass."}
    webhook = {"id": 3, "url": "https://hooks.acme.example/costtrack", "description": "On-call channel"}
    export = {
        "id": 5,
        "title": "Usage by team",
        "format": "csv",
        "file_name": "usage-breakdown-team-acme-2026-10-01-2026-10-31.csv",
        "rows": 83_412,
        "expires_at": iso(now + 168 * HOUR),
        "error": None,
        "requested_by": "ada@acme.example",
    }
    return {
        NoticeKind.THRESHOLD: ("Acme Research has passed 80% of its limit", _limit(_WEEKLY, 80, "82.4", now)),
        NoticeKind.PAUSED: ("Acme Research: access is paused", _limit(_WEEKLY, 100, "100.13", now)),
        NoticeKind.EXCEEDED: (
            "User ada has passed the limit",
            _limit({**_OF_ADA, "action": LimitAction.NOTIFY.value}, 100, "128.9", now),
        ),
        NoticeKind.RESUMED: ("Acme Research: access is back", _limit(_WEEKLY, 100, "93.7", now, paused=False)),
        NoticeKind.INCREASE_REQUESTED: (
            "ada@acme.example requests $250.00 for user ada",
            {"limit": _OF_ADA, "request": request},
        ),
        NoticeKind.INCREASE_GRANTED: ("Approved: $250.00 for user ada", {"limit": _OF_ADA, "request": granted}),
        NoticeKind.INCREASE_DECLINED: ("Declined: $250.00 for user ada", {"limit": _OF_ADA, "request": declined}),
        NoticeKind.UNPRICED_USAGE: (
            "Acme Research: 2 models have no price",
            _issues(now, ("our-cluster", "llama-4-70b", "no_price", ""), ("openai", "gpt-7", "no_price", "")),
        ),
        NoticeKind.FLAGGED_USAGE: (
            "Acme Research: usage of gpt-7 needs a review",
            _issues(now, ("openai", "gpt-7", "unread_usage", "usage.thought_tokens")),
        ),
        NoticeKind.ANOMALY: (
            "Acme Research: user ada spent $734.00, expected about $45.00",
            {"anomalies": [_anomaly(now)], "more": 0, "as_of": iso(now), "time_zone": "Europe/Berlin"},
        ),
        NoticeKind.WEBHOOK_DISABLED: (
            "Webhook disabled: On-call channel",
            {"webhook": webhook, "reason": "Nothing has arrived for 3 days. The last answer was 503."},
        ),
        NoticeKind.EXPORT_READY: ("Usage by team: the file is ready", {"export": export}),
        NoticeKind.EXPORT_FAILED: (
            "Usage by team: the file could not be created",
            {"export": {**export, "rows": 0, "expires_at": None, "error": "Reading the rows took too long."}},
        ),
        NoticeKind.MONTH_CLOSED: (
            "Acme Research: October 2026 is closed",
            {
                "month": {
                    "id": "2026-10",
                    "cost_usd": "1234.5",
                    "unpriced_events": 2,
                    "closed_by": "brin@acme.example",
                },
                "time_zone": "Europe/Berlin",
            },
        ),
        NoticeKind.REPORT: ("Acme Research: Weekly report of team search", _report(now)),
        NoticeKind.TEST: ("A test message for Acme Research", {}),
    }


def _report(now: datetime) -> dict[str, Any]:
    calendar = example_organization().calendar
    week, month = calendar.period_before(Unit.WEEK, now), calendar.period(Unit.MONTH, now)
    return {
        "report": {
            "subscription": 4,
            "frequency": ReportFrequency.WEEKLY.value,
            "scope": ReportScope.TEAM.value,
            "value": "search",
            "start": iso(week.start),
            "end": iso(week.end),
            "first_day": calendar.date_of(week.start).isoformat(),
            "last_day": (calendar.date_of(week.end) - DAY).isoformat(),
        },
        "spend_usd": "1234.5",
        "requests": 18_204,
        "tokens": 91_530_118,
        "unpriced_events": 3,
        "previous": {"spend_usd": "1102.25", "requests": 17_001, "tokens": 84_002_377, "unpriced_events": 0},
        "top": {
            "teams": [["search", "1234.5"]],
            "models": [["claude-sonnet-4-5", "902.125"], ["gpt-4o", "332.375"]],
            "users": [["ada", "700"], ["", "534.5"]],
        },
        "limits": [
            {"name": "weekly limit of team search", "used": "$1,234.50 of $1,500.00", "state": LimitState.WARNING.value}
        ],
        "forecast": {
            "start": iso(month.start),
            "end": iso(month.end),
            "spent_usd": "3310.75",
            "expected_usd": "5020",
            "low_usd": "4700",
            "high_usd": "5400",
        },
        "as_of": iso(now),
        "time_zone": "Europe/Berlin",
    }


def _issues(now: datetime, *issues: tuple[str, str, str, str]) -> dict[str, Any]:
    listed = [
        {
            **dict(zip(("service", "model", "code", "detail"), issue, strict=True)),
            "event_id": "01980f6e-0d3c-7000-8000-000000000001",
            "occurred_at": iso(now),
        }
        for issue in issues
    ]
    return {"issues": listed, "more": 0, "as_of": iso(now), "time_zone": "Europe/Berlin"}


def _anomaly(now: datetime) -> dict[str, Any]:
    return {
        "id": 4,
        "direction": "rise",
        "scope": LimitScope.USER.value,
        "scope_value": "ada",
        "unit": Unit.HOUR.value,
        "start": iso(start_of_hour(now - HOUR)),
        "end": iso(start_of_hour(now)),
        "spent_usd": "734",
        "expected_usd": "45",
        "low_usd": "9",
        "high_usd": "180",
        "explained_by": [
            {"scope": LimitScope.CREDENTIAL.value, "scope_value": "ct_batch", "usd": "681.2"},
            {"scope": LimitScope.MODEL.value, "scope_value": "gpt-5", "usd": "640"},
        ],
    }


def _limit(
    limit: dict[str, Any], threshold: int, spent_usd: str, now: datetime, *, paused: bool = True
) -> dict[str, Any]:
    is_month = limit["window"] == LimitWindow.CALENDAR_MONTH.value
    month = example_organization().calendar.period(Unit.MONTH, now)
    is_over = threshold == 100 and paused and limit["action"] == LimitAction.PAUSE.value  # noqa: PLR2004 - percent
    left = max(Decimal(limit["amount_usd"]) - Decimal(spent_usd), ZERO)
    return {
        "limit": limit,
        "threshold": threshold,
        "spent_usd": spent_usd,
        "remaining_usd": plain(left),
        "window_start": iso(month.start) if is_month else iso(now - 168 * HOUR),
        "window_end": iso(month.end) if is_month else None,
        "resets_at": iso(now + 29 * HOUR) if is_over else None,
        "hit_at": None if is_over else iso(now + 7 * HOUR),
        "as_of": iso(now),
        "time_zone": "Europe/Berlin",
    }
