"""Render and send notices by email: the deliveries of the email channel are an outbox of `costtrack.mail.sending`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from billing.models import Delivery, Notice
from billing.notifications import deliveries
from billing.notifications.email_content import Content, Page, Tone, build_content
from billing.notifications.recipients import allowed_recipients
from billing.notifications.report_subscriptions import is_still_subscribed, unsubscribe_url
from billing.types import Channel, NoticeKind, ReportScope
from costtrack.clock import utc_now
from costtrack.mail.sending import RUN_SECONDS, SendResult, deliver, message_id_header
from costtrack.organization_paths import installation_url, organization_url
from organizations.models import Organization
from organizations.types import Role

RECIPIENT_LEFT = "The recipient is no longer a member of the organization."
NOT_SUBSCRIBED = "The recipient has left, sees only the own usage now, or has unsubscribed from the report."
_ADMIN_PAGES = {
    Page.LIMIT: "billing_spendlimit_change",
    Page.REQUEST: "billing_increaserequest_change",
    Page.WEBHOOK: "billing_webhookendpoint_change",
}
_LISTS = {
    Page.HOME: "index",
    Page.EXPORTS: "exports",
    Page.UNPRICED: "billing_unpricedevent_changelist",
    Page.PRICE_CHECK: "price_check",
    Page.STATEMENT: "statements",
    Page.ANOMALIES: "billing_anomaly_changelist",
    Page.LIMITS: "billing_spendlimit_changelist",
    Page.FORECAST: "forecast",
    Page.REPORTS: "reports",
}


@dataclass(frozen=True, slots=True)
class _Colors:
    """Colors of the label and the bar in the light theme; those of the dark theme are in templates/emails/base.html."""

    ink: str
    background: str
    bar: str


_COLORS = {
    Tone.WARNING: _Colors(ink="#8a4b08", background="#fdf0d0", bar="#d98207"),
    Tone.STOP: _Colors(ink="#a11a2b", background="#fde4e6", bar="#d0263b"),
    Tone.GOOD: _Colors(ink="#04603f", background="#d8f5e6", bar="#0c9b68"),
    Tone.PLAIN: _Colors(ink="#364747", background="#e6ecec", bar="#5b6b6b"),
}


def compose(delivery: Delivery) -> EmailMultiAlternatives | None:
    """Build a message with a text and an HTML part, or None if the recipient has left or was removed, or has
    unsubscribed from a report. `delivery` must have its notice and organization loaded.

    Every attempt has the same Message-ID, so that a mailbox can recognize duplicates. X-Request-Id is that of the
    request that caused the notice, in the log of the server.
    """
    allowed = allowed_recipients(organization=delivery.organization, addresses=[delivery.recipient])
    if delivery.recipient not in allowed:
        return None
    member, notice = allowed[delivery.recipient], delivery.notice
    is_report = notice.kind == NoticeKind.REPORT
    if is_report and not is_still_subscribed(organization=delivery.organization, member=member, data=notice.data):
        return None
    is_own = member is not None and member.role == Role.MEMBER
    text, html = render(notice=delivery.notice, organization=delivery.organization, is_own=is_own)
    message = EmailMultiAlternatives(
        subject=email_subject(delivery.notice, delivery.organization),
        body=text,
        to=[delivery.recipient],
        headers={
            "Message-ID": message_id_header(delivery),
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
            **({"X-Request-Id": notice.request_id} if notice.request_id else {}),
            **(_unsubscribe_headers(notice, delivery.organization) if is_report else {}),
        },
    )
    message.attach_alternative(html, "text/html")
    return message


def _unsubscribe_headers(notice: Notice, organization: Organization) -> dict[str, str]:
    """Return the headers with which mail programs show a button that unsubscribes (RFC 8058)."""
    url = _unsubscribe_url(notice, organization)
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def _unsubscribe_url(notice: Notice, organization: Organization) -> str:
    if notice.kind != NoticeKind.REPORT:
        return ""
    return settings.PUBLIC_URL + unsubscribe_url(organization.pk, notice.data["report"]["subscription"])


def email_subject(notice: Notice, organization: Organization) -> str:
    """Return a subject without text of members or callers, which could make an email look like one of another sender:
    the kind of notice, the organization's slug, and how much of the limit is used."""
    content = notice_content(notice, organization)
    bar = content.progress_bar
    used = f" ({bar.percent}% of {bar.amount})" if bar is not None else ""
    return f"{content.label}: {organization.slug}{used}"


def render(*, notice: Notice, organization: Organization, is_own: bool = False) -> tuple[str, str]:
    """Return the text and the HTML part. `is_own` is for members who see only their own usage: the button leads
    there."""
    content = notice_content(notice, organization)
    context = {
        "email": content,
        "colors": _COLORS[content.tone],
        "subject": notice.subject,
        "organization": organization,
        "url": settings.PUBLIC_URL + organization_url(organization.slug, "own_usage")
        if is_own
        else settings.PUBLIC_URL + notice_url(content, notice.data, organization),
        "links": [
            (name, settings.PUBLIC_URL + organization_url(organization.slug, _LISTS[page]))
            for name, page in content.links
        ],
        "unsubscribe_url": _unsubscribe_url(notice, organization),
        "preferences_url": settings.PUBLIC_URL + installation_url("notification_preferences"),
    }
    text = render_to_string("emails/notice.txt", context)
    return text, render_to_string("emails/notice.html", context)


def notice_content(notice: Notice, organization: Organization) -> Content:
    """Return what the email, and the list of notices in the web UI, say about a notice."""
    return build_content(
        kind=NoticeKind(notice.kind),
        organization=organization.name,
        zone=_zone(notice.data, organization),
        data=notice.data,
    )


def notice_url(content: Content, data: dict[str, Any], organization: Organization) -> str:
    """Return the URL of the page that a notice is about, without the server."""
    page = content.page
    if page is Page.EXPLORE:
        return f"{organization_url(organization.slug, 'explore')}?{_explore_query(data['report'])}"
    if page in _LISTS:
        return organization_url(organization.slug, _LISTS[page])
    return organization_url(organization.slug, _ADMIN_PAGES[page], data[page.value]["id"])


def _explore_query(report: dict[str, Any]) -> str:
    """Return the parameters of the page with which it shows the period and the filter of a report."""
    parameters = {"start_date": report["first_day"], "end_date": report["last_day"]}
    if report["scope"] != ReportScope.ORGANIZATION:
        parameters[report["scope"]] = report["value"]
    return urlencode(parameters)


def _zone(data: dict[str, Any], organization: Organization) -> ZoneInfo:
    """Return the time zone in which the notice was written, or else the organization's."""
    try:
        return ZoneInfo(data.get("time_zone") or organization.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def deliver_emails(*, now: datetime, seconds: float = RUN_SECONDS) -> SendResult:
    """Send due emails, for about `seconds`."""
    return deliver(_Outbox(), now=now, seconds=seconds)


class _Outbox:
    def claim(self, *, now: datetime, limit: int) -> list[Delivery]:
        return deliveries.claim(channel=Channel.EMAIL, now=now, limit=limit)

    def is_due(self, *, now: datetime) -> bool:
        return deliveries.is_due(channel=Channel.EMAIL, now=now)

    def compose(self, row: Delivery, *, now: datetime) -> EmailMultiAlternatives | None:
        return compose(row)

    def dropped(self, row: Delivery) -> None:
        error = NOT_SUBSCRIBED if row.notice.kind == NoticeKind.REPORT else RECIPIENT_LEFT
        deliveries.failed(row, error=error, status=None, now=utc_now(), is_permanent=True)

    def succeeded(self, row: Delivery, *, status: int | None, now: datetime) -> None:
        deliveries.succeeded(row, status=status, now=now)

    def failed(self, row: Delivery, *, error: str, status: int | None, now: datetime, is_permanent: bool) -> None:
        deliveries.failed(row, error=error, status=status, now=now, is_permanent=is_permanent)

    def release_claim(self, rows: Sequence[Delivery], *, until: datetime, error: str | None = None) -> None:
        deliveries.release_claim(rows, until=until, error=error)

    def postpone(self, *, now: datetime, until: datetime, error: str) -> None:
        deliveries.postpone(channel=Channel.EMAIL, now=now, until=until, error=error)
