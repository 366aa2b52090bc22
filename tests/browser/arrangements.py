"""What Acme has arranged beside its usage: limits of all kinds and what has come of them, prices, members, credentials
and webhooks. Made by the API, as far as that makes it."""

from datetime import timedelta
from typing import Any

from rest_framework.test import APIClient

from billing.limits.enforce import enforce
from billing.models import Delivery
from billing.types import Channel, DeliveryState, LimitScope, LimitWindow
from costtrack.clock import iso
from organizations.models import Organization
from organizations.types import Role, Scope
from tests.browser.history import MOMENT
from tests.browser.some_usage import record_some
from tests.conftest import add_member, make_key
from tests.limits import set_limit
from tests.usage import send_events

ACME = "/organizations/acme"


def record(api: APIClient) -> None:
    """Write it for Acme, whose owner gets its emails."""
    organization = Organization.objects.get(slug="acme")
    record_some(organization, Organization.objects.create(slug="globex", name="Globex Labs"))
    add_member(organization, "owner@acme.example", Role.OWNER)
    _limits(organization, api)
    _authorizations(organization, api)
    enforce(organization=organization, now=MOMENT)
    _increase_requests(api)
    deliveries = Delivery.objects.filter(organization=organization).order_by("id")
    mails, posts = (deliveries.filter(channel=channel.value) for channel in (Channel.EMAIL, Channel.WEBHOOK))
    for delivery, state in ((mails[0], DeliveryState.SENT), (posts[0], DeliveryState.FAILED)):
        Delivery.objects.filter(pk=delivery.pk).update(state=state.value, attempts=2, finished_at=MOMENT)
    for path, body in (
        ("prices", {"provider": "openai", "model": "gpt-4.1", "input_usd_per_million": "1.1"}),
        ("prices", {"provider": "in-house", "model": "house-14b", "effective_from": iso(MOMENT + timedelta(days=9))}),
        ("prices", {"provider": "in-house", "model": "house-12b", "effective_from": iso(MOMENT - timedelta(days=9))}),
        ("members", {"email": "admin@acme.example", "role": "admin"}),
        ("members", {"email": "viewer-2@acme.example", "role": "viewer"}),
        ("credentials", {"name": "Try-outs", "environment": "staging"}),
        ("credentials", {"name": "Laptop", "environment": "development"}),
        ("webhooks", {"url": "https://hooks.acme.example/paused", "kinds": ["limit.paused"]}),
    ):
        unit_prices = {"output_usd_per_million": "2"} if path == "prices" else {}
        made = _post(api, f"{ACME}/{path}", {**body, **unit_prices})
        if body.get("model") == "house-12b":
            _post(api, f"{ACME}/prices/{made['id']}/end", {"effective_to": iso(MOMENT)})
        if body.get("name") == "Laptop":
            _post(api, f"{ACME}/credentials/{made['client_id']}/revoke", {})


def _limits(organization: Organization, api: APIClient) -> None:
    """Of the past there is one that nobody could set now."""
    for body in (
        {"scope": "user", "scope_value": "ada", "window": "calendar_week", "amount_usd": "0.5"},
        {"scope": "user", "window": "lifetime", "amount_usd": "90"},
        {"scope": "tag", "scope_value": "env:prod", "window": "rolling_7d", "amount_usd": "40", "action": "notify"},
        {"scope": "model", "scope_value": "gpt-4.1", "window": "calendar_day", "amount_usd": "20"},
    ):
        later = {"starts_at": iso(MOMENT + timedelta(days=2))} if body["scope"] == "model" else {}
        _post(api, f"{ACME}/limits", {**body, **later})
    removed = _post(api, f"{ACME}/limits", {"scope": "run", "window": "lifetime", "amount_usd": "5"})
    assert api.delete(f"{ACME}/limits/{removed['id']}").status_code == 204
    set_limit(
        organization,
        "7",
        LimitScope.SESSION,
        window=LimitWindow.LIFETIME,
        starts_at=MOMENT - timedelta(days=20),
        ends_at=MOMENT - timedelta(days=10),
    )


def _authorizations(organization: Organization, api: APIClient) -> None:
    """One is still held, one was used, and one was not needed."""
    call = {"service": "openai", "model": "gpt-4.1-mini", "user_id": "curie", "input_tokens": 90_000, "max_tokens": 900}
    held, used, released = (
        _post(api, "/usage/authorizations", {**call, "idempotency_key": key}) for key in ("held", "used", "released")
    )
    assert held["status"] == "reserved"
    send_events(
        organization,
        {
            **{name: call[name] for name in ("service", "model", "user_id", "input_tokens")},
            "authorization_id": used["id"],
        },
    )
    assert api.delete(f"/usage/authorizations/{released['id']}").status_code in (200, 204)


def _increase_requests(api: APIClient) -> None:
    """Beside the one that waits: one that an operator has declined."""
    limits = api.get(f"{ACME}/limits").json()["results"]
    (limit,) = [item for item in limits if (item["scope"], item["scope_value"]) == ("user", "ada")]
    requested = _post(api, f"{ACME}/limit-requests", {"limit": limit["id"], "amount_usd": "0.9", "reason": "Launch"})
    operators = make_key(None, *Scope, name="operator").client()
    _post(operators, f"{ACME}/limit-requests/{requested['id']}/decline", {"answer": "Not now"})


def _post(api: APIClient, path: str, body: Any) -> Any:
    response = api.post(path, body, format="json")
    assert response.status_code < 300, (path, body, response.content)
    return response.json()
