"""Two organizations with the same ids never see each other's numbers: by no route of the project, for any caller.

The test walks the URL configuration itself, so a new route is covered the day it is added.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import get_resolver, reverse
from rest_framework.test import APIClient

from billing.models import (
    Authorization,
    Delivery,
    IncreaseRequest,
    LimitOverride,
    QuarantinedRecord,
    Repricing,
    SpendLimit,
    ThresholdEvent,
    UsageEvent,
    WebhookEndpoint,
)
from billing.notifications.outbox import notify
from billing.notifications.webhooks import create_webhook
from billing.types import Channel, LimitScope, NoticeKind
from costtrack import tenancy
from organizations.models import AuditEntry, Organization, User
from organizations.types import Scope
from tests import profiles
from tests.billing.limits.factories import make_limit, raised
from tests.conftest import Key, make_key
from tests.example_requests import methods_of, routes
from tests.limits import take
from tests.usage import NOW, Send, set_price

MARK = "globex-only"  # in every text of the other organization
AMOUNT = "77777"  # in every amount of it


@pytest.fixture(autouse=True)
def _without_row_level_security(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row-level security would hide that a query has no organization, so each query has to do without it."""
    monkeypatch.setattr(tenancy, "TENANT_ROLE", "none")


@pytest.fixture
def both(organization: Organization, other_organization: Organization, send: Send) -> None:
    """The same ids in both organizations; the other one's texts and amounts bear its mark."""
    shared: dict[str, Any] = {
        "id": "same",
        "run_id": "same-run",
        "workflow_id": "same-flow",
        "session_id": "same-session",
        "execution_id": "same-execution",
        "group_id": "same-group",
    }
    send({**shared, "service": "ours", "model": "our-model", "cost_usd": "1"}, {"model": "our-unpriced"})
    theirs = {**shared, "service": MARK, "model": MARK, "group_name": MARK, "cost_usd": f"0.{AMOUNT}"}
    child = {"run_id": f"{MARK}-child", "parent_run_id": "same-run", "cost_usd": f"{AMOUNT}"}
    send({**theirs, "tags": [MARK], "metadata": {"note": MARK}}, child, {"model": MARK}, to=other_organization)
    set_price(MARK, provider=MARK, input=AMOUNT, organization=other_organization)
    make_key(other_organization, Scope.COSTS_READ, name=MARK)
    QuarantinedRecord.objects.create(
        organization=other_organization, format="litellm", received_at=NOW, record_id=MARK, code="invalid", raw=MARK
    )
    Repricing.objects.create(
        organization=other_organization,
        actor=MARK,
        reason=MARK,
        model=MARK,
        start=NOW,
        end=NOW,
        created_at=NOW,
        touched_at=NOW,
    )
    take(other_organization, f"0.{AMOUNT}", key=MARK, user_ref=MARK, run_id="same-run", session_id="same-session")
    AuditEntry.objects.create(organization=other_organization, actor=MARK, action="test", subject=MARK)
    _add_limit(other_organization)
    webhook = create_webhook(
        organization=other_organization, url=f"https://93.184.216.34/{MARK}", description=MARK, actor=MARK, now=NOW
    ).webhook
    notify(
        organization=other_organization,
        kind=NoticeKind.PAUSED,
        subject=MARK,
        data={"spent_usd": AMOUNT},
        now=NOW,
        to=(),
        webhooks=[webhook],
    )


def _add_limit(organization: Organization) -> None:
    """With a raise, a threshold event and a request for more."""
    limit = make_limit(organization, scope=LimitScope.TAG, scope_value=MARK)
    raised(limit, int(AMOUNT))
    shared: dict[str, Any] = {"organization": organization, "limit": limit, "value": MARK, "amount_usd": AMOUNT}
    ThresholdEvent.objects.create(**shared, threshold=80, window_key=MARK, spent_usd=Decimal(AMOUNT), reached_at=NOW)
    IncreaseRequest.objects.create(**shared, reason=MARK, requested_by=MARK, requested_at=NOW)


def candidates(other: Organization) -> dict[str, list[str]]:
    """What to put into the parameters of routes, by name: the other organization's identifiers, and the shared ones."""
    event = UsageEvent.objects.of(other).get(event_id="same")
    credential = other.credentials.get(name=MARK)
    member = other.memberships.first()
    by_name: dict[str, list[object]] = {
        "slug": [other.slug],
        "run_id": ["same-run", f"{MARK}-child"],
        "client_id": [credential.client_id],
        "event_id": [event.id],
        "authorization_id": [Authorization.objects.of(other).get().pk],
        "id": [event.id],
        "override_id": [LimitOverride.objects.of(other).get().pk],
        "pk": [
            *(event.id, credential.pk, member.pk if member else 0),
            *(other.prices.get().pk, Repricing.objects.of(other).get().pk),
            *(SpendLimit.objects.of(other).get().pk, IncreaseRequest.objects.of(other).get().pk),
            WebhookEndpoint.objects.of(other).get().pk,
            Delivery.objects.of(other).get(channel=Channel.WEBHOOK).pk,
        ],
    }
    return {name: [str(value) for value in values] for name, values in by_name.items()}


def urls(other: Organization) -> dict[str, list[str]]:
    """Every URL outside the admin with the other organization's identifiers in it, each once, and the methods that its
    view has."""
    values = candidates(other)
    found: dict[str, list[str]] = {}
    for route, pattern in routes(get_resolver().url_patterns):
        if route.startswith(("admin/", "schema", "healthz", "readyz", "metrics")) or "static" in route:
            continue
        paths = [route]
        for name in pattern.pattern.converters:
            paths = [re.sub(rf"<(\w+:)?{name}>", value, path) for path in paths for value in values.get(name, ["same"])]
        assert not [path for path in paths if "<" in path], route
        found |= {f"/{path}": methods_of(pattern.callback) for path in paths}
    return found


QUERIES: tuple[str, ...] = (
    "",
    "?include_children=true",
    "?workflow_id=same-flow&organization={slug}",
    "?run_id=same-run&model=globex-only",
    "?session_id=same-session&limit=200&page_size=100",
)


def assert_clean(response: Any, url: str) -> None:
    assert response.status_code < 500, (url, response.content)
    text = b"".join(response.streaming_content) if response.streaming else response.content
    # What was asked for may be repeated in an error; what was not asked for may not appear.
    requested = url.encode()
    for secret in (MARK.encode(), AMOUNT.encode()):
        assert secret not in text.replace(b"Run globex-only-child not found", b"") or (
            response.status_code >= 400 and secret in requested
        ), (url, text[:500])


@pytest.mark.usefixtures("both")
def test_no_route_of_the_apis_shows_another_organization(
    api: APIClient, owner: User, viewer: User, other_organization: Organization, stranger: User
) -> None:
    # In the short profile the credential asks everything, and members ask less of the same views: of their own
    # organization and of the other one, which they name. Addresses of the other organization are refused before a view
    # reads the query.
    clients: list[tuple[Client | APIClient, tuple[str, ...]]] = [(api, QUERIES)]
    for person, query in ((owner, QUERIES[2]), (viewer, QUERIES[0])):
        client = Client()
        client.force_login(person)
        clients.append((client, QUERIES if profiles.IS_LONG else (query,)))
    visited = 0
    for url in (url for url, methods in urls(other_organization).items() if "get" in methods):
        is_theirs = f"/{other_organization.slug}/" in f"{url}/"
        for client, queries in clients:
            for query in queries if profiles.IS_LONG or not is_theirs else queries[:3:2]:
                full = url + query.format(slug=other_organization.slug)
                response = client.get(full)
                assert_clean(response, full)
                visited += 1
                if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # whatever the query
                    break
    assert visited > 500


@pytest.mark.usefixtures("both")
def test_no_writing_route_reaches_another_organization(
    api: APIClient, owner: User, other_organization: Organization, stranger: User
) -> None:
    browser = Client()
    browser.force_login(owner)
    before = {model: list(_rows(model, other_organization)) for model in _scoped_models()}
    written = 0
    for url, methods in urls(other_organization).items():
        for client in (api, browser):
            for method in (method for method in methods if method != "get"):
                response = (
                    getattr(client, method)(url, {"name": "taken"}, content_type="application/json")
                    if (client is browser)
                    else getattr(client, method)(url, {"name": "taken"})
                )
                assert_clean(response, url)
                written += 1
    assert written > 200
    after = {model: list(_rows(model, other_organization)) for model in _scoped_models()}
    assert after == before


def _scoped_models() -> list[type[models.Model]]:
    from django.apps import apps

    return [
        model
        for app in ("organizations", "billing")
        for model in apps.get_app_config(app).get_models()
        if any(field.name == "organization" for field in model._meta.get_fields())
    ]


def _rows(model: type[models.Model], organization: Organization) -> Iterator[tuple[object, ...]]:
    yield from model._default_manager.filter(organization=organization).order_by("pk").values_list()


@pytest.mark.usefixtures("both")
def test_no_admin_page_shows_another_organization(
    owner: User, viewer: User, other_organization: Organization, stranger: User
) -> None:
    visited = 0
    for person in (owner, viewer):
        client = Client()
        client.force_login(person)
        for model in admin.site._registry:
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            foreign = [row.pk for row in model._default_manager.all() if _belongs_to(row, other_organization)]
            pages = [reverse(f"{name}_changelist"), f"{reverse(f'{name}_changelist')}?q=same", reverse(f"{name}_add")]
            for pk in foreign:
                pages += [reverse(f"{name}_{page}", args=[pk]) for page in ("change", "delete", "history")]
            for page in pages:
                response = client.get(page)
                assert_clean(response, page)
                visited += 1
                assert response.status_code in (200, 302, 403, 404), page
        assert_clean(client.get(reverse("admin:index"), follow=True), "usage")
    assert visited > 50


def _belongs_to(row: models.Model, organization: Organization) -> bool:
    if isinstance(row, Organization):
        return row == organization
    return getattr(row, "organization_id", None) == organization.pk


def test_a_foreign_and_an_unknown_id_answer_alike(
    api: APIClient, other_organization: Organization, other_key: Key, send: Send
) -> None:
    send({"id": "x", "run_id": "theirs", "cost_usd": "1"}, to=other_organization)
    event = UsageEvent.objects.of(other_organization).get()
    unknown = UUID(int=event.id.int + 1)
    authorization = take(other_organization, "1").authorization.pk
    pairs = [
        ("/organizations/globex", "/organizations/nobody"),
        ("/organizations/globex/credentials", "/organizations/nobody/credentials"),
        ("/organizations/globex/members", "/organizations/nobody/members"),
        ("/organizations/globex/prices", "/organizations/nobody/prices"),
        ("/organizations/globex/limits", "/organizations/nobody/limits"),
        ("/organizations/globex/limit-requests", "/organizations/nobody/limit-requests"),
        (
            f"/organizations/acme/credentials/{other_key.credential.client_id}",
            f"/organizations/acme/credentials/ct_{'0' * 20}",
        ),
        (f"/usage/events/{event.id}", f"/usage/events/{unknown}"),
        (f"/usage/authorizations/{authorization}", f"/usage/authorizations/{unknown}"),
        ("/costs/runs/theirs", "/costs/runs/nobody"),
    ]
    for foreign, nobody in pairs:
        first, second = api.get(foreign), api.get(nobody)
        assert first.status_code == second.status_code == 404, foreign
        assert str(first.json()).replace("theirs", "nobody") == str(second.json()), foreign
