"""What the palette finds besides pages: names and ids of the organization's usage, credentials and organizations.

`UNFOLD["COMMAND"]["search_callback"]` names `search`. Every query is bounded and uses an index.
"""

from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from unfold.dataclasses import SearchResult

from billing.admin.components.urls import admin_url, change_url, event_url, execution_url, run_url, session_url
from billing.admin.events.event_search import event_keys
from billing.ingest.call_identity import call_key
from billing.models import CallKey, EventKey, Execution, UsageEvent
from billing.reports.name_search import find_names
from billing.types import LimitScope
from costtrack.clock import utc_now
from costtrack.organization_paths import organization_url
from organizations.admin.switcher import find_organizations
from organizations.admin_request import chosen_organization, request_user, scopes_in
from organizations.models import APICredential, Organization
from organizations.permissions import CREDENTIALS, USAGE
from organizations.plan_rights import PlanRights

_MAX_EACH = 5
_MIN_ID_LENGTH = 4
_SOURCES_AMONG = 1_000

_NAMES: dict[LimitScope, tuple[str, str, str]] = {
    LimitScope.MODEL: ("deployed_code", "usage", "model"),
    LimitScope.USER: ("person", "usage", "user_id"),
    LimitScope.END_USER: ("face", "usage", "end_user"),
    LimitScope.TEAM: ("groups", "usage", "team"),
    LimitScope.TAG: ("label", "request_log", "tag"),
    LimitScope.WORKFLOW: ("account_tree", "runs", "workflow"),
}
"""The icon of a name's scope, and the page and the filter that show its usage."""


def search(request: HttpRequest, text: str) -> list[SearchResult]:
    """Return what the user may see and the text names, in the organization of the page."""
    organization = chosen_organization(request)
    results = list(_organizations(request, organization, text))
    if organization is None:
        return results
    scopes, rights = scopes_in(request, organization.pk), PlanRights(organization, request_user(request).is_superuser)
    if USAGE.read in scopes and rights.api_refusal() is None:
        results = [*_names(organization, rights, text), *_ids(organization, rights, text), *results]
    if CREDENTIALS.read in scopes:
        results += _credentials(organization, text)
    return results


def _organizations(request: HttpRequest, chosen: Organization | None, text: str) -> Iterator[SearchResult]:
    for name in find_organizations(request_user(request), text, _MAX_EACH):
        if chosen is None or name.id != chosen.pk:
            yield SearchResult(name.name, "Organization", organization_url(name.slug, "index"), "apartment")


def _names(organization: Organization, rights: PlanRights, text: str) -> Iterator[SearchResult]:
    scopes = [*_NAMES, LimitScope.RUN, LimitScope.SESSION]
    since = rights.history_start(utc_now())
    for name in find_names(organization=organization, text=text, scopes=scopes, each=_MAX_EACH, since=since):
        if name.scope is LimitScope.RUN:
            icon, url = "lan", run_url(name.value)
        elif name.scope is LimitScope.SESSION:
            icon, url = "forum", session_url(name.value)
        else:
            icon, page, parameter = _NAMES[name.scope]
            url = admin_url(page, **{parameter: name.value})
        yield SearchResult(name.value, name.scope.label, url, icon)


def _ids(organization: Organization, rights: PlanRights, text: str) -> Iterator[SearchResult]:
    """Find an execution, and the event with this id: costtrack's, the sender's or the provider's."""
    now = utc_now()
    execution = Execution.objects.of(organization).filter(execution_id=text, archived=False).first()
    if execution is not None and rights.is_visible(execution.last_at, now=now):
        yield SearchResult(text, "Execution", execution_url(text), "account_tree")
    event = _event(organization, text) if len(text) >= _MIN_ID_LENGTH else None
    if event is not None and rights.is_visible(event.occurred_at, now=now):
        yield SearchResult(text, f"Call of {event.model}" if event.model else "Event", event_url(event.pk), "receipt")


def _event(organization: Organization, text: str) -> UsageEvent | None:
    events = UsageEvent.objects.of(organization)
    keys = event_keys(events, text, among=_SOURCES_AMONG)
    ids = list(EventKey.objects.of(organization).filter(key__in=keys).values_list("event_id", flat=True))
    ids += CallKey.objects.of(organization).filter(key=call_key("", text)).values_list("event_id", flat=True)
    with suppress(ValueError):
        ids.append(UUID(text))
    return events.filter(pk__in=ids).order_by("id").first() if ids else None


def _credentials(organization: Organization, text: str) -> Iterator[SearchResult]:
    matches = Q(name__icontains=text) | Q(client_id__icontains=text)
    for credential in APICredential.objects.of(organization).filter(matches).order_by("name", "id")[:_MAX_EACH]:
        url = change_url("organizations_apicredential", credential.pk)
        yield SearchResult(credential.name, "Credential", url, "key")
