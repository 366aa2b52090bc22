"""The sidebar of the admin."""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.http import HttpRequest
from django.urls import get_script_prefix, reverse

from costtrack.organization_paths import installation_url, script_prefix

_ORGANIZATIONS = "organizations_organization_changelist"

MayOpen = Callable[[str], bool]
"""Whether the user may open an admin view, by its name."""


def sidebar(request: HttpRequest, may_open: MayOpen) -> list[dict[str, Any]]:
    """Return the sections of links that the user may open, in the theme's format. Links to organization pages stay in
    the current organization; operators also see the installation's section. `active` marks the link of the current page
    or its list."""
    sections = [
        {**section, "items": items}
        for section in _sections(request)
        if (items := [item for item in section["items"] if may_open(item.pop("view"))])
    ]
    home = get_script_prefix() + _path("index")
    for section in sections:
        for item in section["items"]:
            link = item["link"]
            item["active"] = request.path == link or (link != home and request.path.startswith(link))
    return sections


def _sections(request: HttpRequest) -> list[dict[str, Any]]:
    sections = [
        *_overview(request),
        _section(
            "Build",
            _link("Usage", "monitoring", "usage"),
            _link("My usage", "person", "own_usage"),
            _link("API credentials", "key", "organizations_apicredential_changelist"),
            _link("Getting started", "rocket_launch", "getting_started"),
        ),
        _section(
            "Costs",
            _link("Pricing", "query_stats", "pricing"),
            _link("Price check", "price_check", "price_check"),
            _link("Sessions & executions", "forum", "sessions"),
            _link("Runs", "account_tree", "runs"),
            _link("Request log", "receipt_long", "request_log"),
            _link("Tags", "label", "tags"),
        ),
        _section(
            "Billing",
            _link("Limits", "speed", "billing_spendlimit_changelist"),
            _link("Increase requests", "request_quote", "billing_increaserequest_changelist"),
            _link("Threshold events", "notifications_active", "billing_thresholdevent_changelist"),
            _link("Authorizations", "verified_user", "billing_authorization_changelist"),
            _link("Plan", "workspace_premium", "plan"),
            _link("Exports", "download", "exports"),
        ),
        _section(
            "Ledger",
            _link("All events", "menu_book", "billing_usageevent_changelist"),
            _link("All runs", "lists", "billing_run_changelist"),
            _link("All sessions", "forum", "billing_session_changelist"),
            _link("All executions", "account_tree", "billing_execution_changelist"),
            _link("All groups", "workspaces", "billing_generationgroup_changelist"),
            _link("Batches", "move_to_inbox", "billing_ingestbatch_changelist"),
            _link("Import files", "upload_file", "billing_upload_changelist"),
            _link("Metrics as usage", "data_usage", "billing_metricsender_changelist"),
            _link("Unpriced", "hourglass_empty", "billing_unpricedevent_changelist"),
            _link("Quarantine", "report", "billing_quarantinedrecord_changelist"),
            _link("Repricing", "currency_exchange", "billing_repricing_changelist"),
        ),
        _section(
            "Settings",
            _organization_link(request),
            _link("Members", "group", "organizations_membership_changelist"),
            _link("Teams", "groups", "organizations_team_changelist"),
            _link("Prices", "payments", "billing_priceversion_changelist"),
            _link("Agreements", "handshake", "billing_agreement_changelist"),
            _link("Credits", "redeem", "billing_credit_changelist"),
            _link("Webhooks", "webhook", "billing_webhookendpoint_changelist"),
            _link("Notice addresses", "alternate_email", "billing_notificationaddress_changelist"),
            _link("Deliveries", "outgoing_mail", "billing_delivery_changelist"),
            _link("E-mails you get", "mail", "notification_preferences"),
            _link("E-mail previews", "drafts", "email_previews"),
            _link("Audit log", "history", "organizations_auditentry_changelist"),
        ),
    ]
    if getattr(request.user, "is_superuser", False):
        sections.append(
            _section(
                "Installation",
                _installation("All organizations", "domain", "organizations_organization_changelist"),
                _installation("Plans", "sell", "organizations_plan_changelist"),
                _installation("Users", "person", "organizations_user_changelist"),
                _installation("Security log", "shield_person", "organizations_securityevent_changelist"),
                _installation("Health", "monitor_heart", "health"),
            )
        )
    return sections


def _overview(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the overview link, except on pages of a single organization."""
    if getattr(request, "organization", None) is not None:
        return []
    return [_section("", _link("Overview", "space_dashboard", "index"))]


def _organization_link(request: HttpRequest) -> dict[str, Any]:
    organization = getattr(request, "organization", None)
    if organization is None:
        return _link("Organizations", "apartment", _ORGANIZATIONS)
    url = reverse("admin:organizations_organization_change", args=[organization.pk])
    return {"title": "Organization", "icon": "apartment", "link": url, "view": _ORGANIZATIONS}


def _section(title: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "items": list(items)}


def _link(title: str, icon: str, view: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": get_script_prefix() + _path(view), "view": view}


@cache
def _path(view: str) -> str:
    """Return the path without the script prefix. Cached, because each page has 30 links and `reverse` is slow."""
    with script_prefix("/"):
        return reverse(f"admin:{view}").removeprefix("/")


def _installation(title: str, icon: str, view: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": installation_url(view), "view": view}
