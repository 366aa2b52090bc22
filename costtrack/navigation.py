"""The sidebar of the admin."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy


def _link(title: str, icon: str, view: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{view}")}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Sections of links; operators see the installation's section too."""
    sections: list[dict[str, Any]] = [
        {
            "title": "",
            "items": [_link("Overview", "space_dashboard", "index")],
        },
        {
            "title": "Spend",
            "separator": True,
            "items": [
                _link("Ledger", "receipt_long", "billing_usageevent_changelist"),
                _link("Runs", "account_tree", "billing_run_changelist"),
                _link("Prices", "payments", "billing_priceversion_changelist"),
                _link("Repricing", "currency_exchange", "billing_repricing_changelist"),
            ],
        },
        {
            "title": "Limits",
            "separator": True,
            "items": [
                _link("Spend limits", "speed", "billing_spendlimit_changelist"),
                _link("Increase requests", "request_quote", "billing_increaserequest_changelist"),
                _link("Crossings", "notifications_active", "billing_limitcrossing_changelist"),
                _link("Authorizations", "verified_user", "billing_authorization_changelist"),
            ],
        },
        {
            "title": "Notifications",
            "separator": True,
            "items": [
                _link("Deliveries", "outgoing_mail", "billing_delivery_changelist"),
                _link("Webhooks", "webhook", "billing_webhookendpoint_changelist"),
                _link("E-mails you get", "mail", "notification_preferences"),
                *_previews(request),
            ],
        },
        {
            "title": "Intake",
            "separator": True,
            "items": [
                _link("Batches", "move_to_inbox", "billing_ingestbatch_changelist"),
                _link("Unpriced", "hourglass_empty", "billing_unpricedevent_changelist"),
                _link("Quarantine", "report", "billing_quarantinedrecord_changelist"),
            ],
        },
        {
            "title": "Organization",
            "separator": True,
            "items": [
                _link("Organizations", "apartment", "organizations_organization_changelist"),
                _link("Members", "group", "organizations_membership_changelist"),
                _link("API credentials", "key", "organizations_apicredential_changelist"),
                _link("Audit log", "history", "organizations_auditentry_changelist"),
            ],
        },
    ]
    if getattr(request.user, "is_superuser", False):
        sections.append(
            {
                "title": "Installation",
                "separator": True,
                "items": [
                    _link("Health", "monitor_heart", "health"),
                    _link("People", "person", "organizations_user_changelist"),
                    _link("Plans", "sell", "organizations_plan_changelist"),
                ],
            }
        )
    return sections


def _previews(request: HttpRequest) -> list[dict[str, Any]]:
    """For those who run something: operators, owners and admins."""
    roles = getattr(request.user, "roles", {}).values()
    if not (getattr(request.user, "is_superuser", False) or any(role.may_change for role in roles)):
        return []
    return [_link("E-mail previews", "drafts", "email_previews")]
