"""The context of an event (run, session, user, tags, ...), linked to the pages about it."""

from datetime import UTC, date, timedelta

from django.utils.html import format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.models import UsageEvent
from costtrack.clock import utc_now
from costtrack.organization_paths import organization_url

_SHOWN_AT_FIRST = timedelta(days=29)  # the default period of the linked pages


def context_of(event: UsageEvent) -> list[tuple[str, SafeString | str]]:
    slug = event.organization.slug
    # An execution only has a page if it has sessions.
    execution = event.execution_id if event.session_id else ""
    return [
        ("Organization", event.organization.name),
        ("Run", _linked(slug, "run", event.run_id)),
        ("Workflow", event.workflow_id),
        ("Execution", _linked(slug, "execution", execution) or event.execution_id),
        ("Phase", event.phase_id),
        ("Workspace", event.workspace_id),
        ("Session", _linked(slug, "session", event.session_id)),
        ("Group", " ".join(filter(None, (event.group_name, event.group_id and f"({event.group_id})")))),
        ("Agent", " ".join(filter(None, (event.agent_name, event.agent_id and f"({event.agent_id})")))),
        ("User", _user(event)),
        ("End user", event.end_user),
        ("Tags", _tags(event)),
    ]


def _linked(slug: str, view: str, key: str) -> SafeString | str:
    return formatting.link(organization_url(slug, view, key), key) if key else ""


def _user(event: UsageEvent) -> SafeString | str:
    """Link to the calls of the same user."""
    if not event.user_ref:
        return ""
    day = event.organization.calendar.date_of(event.occurred_at)
    query = {"user": event.user_ref, **_period(event, day)}
    url = organization_url(event.organization.slug, "request_log")
    return formatting.link(f"{url}?{urlencode(query)}", event.user_ref)


def _tags(event: UsageEvent) -> SafeString:
    url = organization_url(event.organization.slug, "tags")
    period = _period(event, event.occurred_at.astimezone(UTC).date())  # that page has UTC days
    links = (formatting.link(f"{url}?{urlencode({'tag': tag, **period})}", tag) for tag in event.tags)
    return format_html_join(", ", "{}", ((link,) for link in links))


def _period(event: UsageEvent, day: date) -> dict[str, str]:
    """Return the period parameters of a link: the event's day, or nothing if the default period includes it."""
    if utc_now() - event.occurred_at < _SHOWN_AT_FIRST:
        return {}
    return {"start_date": f"{day}", "end_date": f"{day}"}
