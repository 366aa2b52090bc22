"""Closing and reopening an organization: who may, what works until its data is deleted, and who gets emails."""

import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from billing.limits.enforce import enforce_all
from costtrack.clock import iso, utc_now
from organizations.accounts.delivery import deliver_account_emails
from organizations.models import AuditEntry, Membership, Organization, User
from organizations.services import close_organization, remind_owners
from organizations.types import Role, Scope
from tests.conftest import Key, add_member, make_key
from tests.html import parse
from tests.limits import set_limit
from tests.usage import NOW, Send

pytestmark = pytest.mark.django_db


def action(name: str, organization: Organization) -> str:
    path = reverse(f"admin:organizations_organization_{name}", args=[organization.pk])
    return f"/o/acme{path}"


EVENT = {"id": "e-1", "kind": "compute", "cost_usd": "0.5", "user_id": "ada"}


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def freshly_signed_in(user: User) -> Client:
    client = Client()
    client.post("/account/login", {"login": user.email, "password": "correct-horse-battery"})
    return client


@pytest.fixture
def closed(organization: Organization, owner: User) -> Organization:
    return close_organization(
        organization=organization, confirmation="acme", acting_as=Role.OWNER, actor=owner.email, now=utc_now()
    )


def sent() -> list[tuple[str, str]]:
    mail.outbox.clear()
    deliver_account_emails(now=utc_now())
    return [(message.to[0], str(message.subject)) for message in mail.outbox]


def body_of(response: Any) -> Any:
    return json.loads(response.content)


def test_an_owner_closes_it_on_its_page_and_reopens_it(owner: User, organization: Organization) -> None:
    client = freshly_signed_in(owner)
    assert "Close organization" in parse(client.get(action("change", organization)).content.decode()).text
    shown = parse(client.get(action("close", organization)).content.decode()).text
    assert "API keys are refused" in shown
    assert "After 30 days all data is deleted" in shown
    refused = client.post(action("close", organization), {"slug": "acme-labs"})
    assert "Must be acme." in refused.content.decode()
    assert 'value="acme-labs"' in refused.content.decode()
    assert client.post(action("close", organization), {"slug": " acme "}).status_code == 302
    organization.refresh_from_db()
    assert organization.closes_at is not None
    assert timedelta(days=29, hours=23) < organization.closes_at - utc_now() < timedelta(days=30)

    text = parse(client.get(action("change", organization)).content.decode()).text
    assert "Acme Research is closed and will be deleted on" in text
    assert "Reopen organization" in text
    assert "Close organization" not in text
    assert client.post(action("reopen", organization)).status_code == 302
    assert Organization.objects.open().filter(slug="acme").exists()
    actions = AuditEntry.objects.filter(organization=organization).order_by("id").values_list("actor", "action")
    assert list(actions) == [(owner.email, "organization.closed"), (owner.email, "organization.reopened")]


def test_closing_needs_a_fresh_sign_in(owner: User, organization: Organization) -> None:
    old = signed_in(owner)
    for response in (old.get(action("close", organization)), old.post(action("close", organization), {"slug": "acme"})):
        assert response["Location"].startswith("/account/confirm?next=%2Fo%2Facme%2Fadmin")
    refused = old.post("/organizations/acme/close", {"slug": "acme"}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (403, "fresh_sign_in_required")
    confirmed = old.post("/account/confirm?next=%2Fo%2Facme%2F", {"password": "correct-horse-battery"})
    assert confirmed.status_code == 302
    closed = old.post("/organizations/acme/close", {"slug": "acme"}, content_type="application/json")
    assert (closed.status_code, closed.json()["slug"]) == (200, "acme")
    assert closed.json()["closes_at"] is not None


def test_only_owners_and_operators_close_and_reopen(key: Key, operator_key: Key, organization: Organization) -> None:
    admin = freshly_signed_in(add_member(organization, "admin@acme.example", Role.ADMIN))
    for client in (admin, key.client()):
        refused = client.post("/organizations/acme/close", {"slug": "acme"}, content_type="application/json")
        assert (refused.status_code, refused.json()["code"]) == (403, "owners_only")
    assert "Close organization" not in admin.get(action("change", organization)).content.decode()
    assert admin.post(action("close", organization), {"slug": "acme"}).status_code == 403
    operator = operator_key.client()
    for body, status in (({}, 422), ({"slug": "ACME"}, 422), ({"slug": "acme"}, 200), ({"slug": "acme"}, 403)):
        assert operator.post("/organizations/acme/close", body).status_code == status
    assert operator.post("/organizations/acme/reopen").json()["closes_at"] is None
    assert operator.post("/organizations/acme/reopen").status_code == 409


def test_keys_are_refused_in_the_format_of_the_family_but_usage_is_recorded(
    closed: Organization, key: Key, other_api: APIClient, operator_api: APIClient
) -> None:
    api = key.client()
    for path in ("/usage/summary", "/organizations/acme", "/organizations/acme/archive"):
        refused = api.get(path)
        assert (refused.status_code, body_of(refused)["code"]) == (403, "organization_closing"), path
        assert body_of(refused)["closes_at"] == iso(closed.closes_at)
    assert "will be deleted on" in api.get("/costs/summary").json()["detail"]
    assert api.get("/spend/logs").json()["error"]["message"].startswith("The organization is closed")
    assert api.post("/system/pricing").json()["detail"].startswith("The organization is closed")
    call = {"model": "gpt-4o", "estimated_cost_usd": "0.1"}
    assert api.post("/usage/authorizations", call).status_code == 403
    assert api.post("/organizations/acme/limits", {}).status_code == 403

    assert api.post("/usage/events", EVENT).json()["accepted"] == 1
    assert api.post("/events", {"specversion": "1.0"}).status_code == 422  # read, not refused
    assert operator_api.get("/usage/summary?organization=acme").json()["cost_usd"] == "0.5"
    assert operator_api.post("/organizations/acme/limits", {}).status_code == 403
    assert other_api.get("/usage/summary").status_code == 200

    Organization.objects.filter(pk=closed.pk).update(closes_at=utc_now())
    refused = api.post("/usage/events", {**EVENT, "id": "e-2"})
    assert (refused.status_code, refused.json()["code"]) == (403, "organization_closed")
    assert operator_api.post("/organizations/acme/reopen").json()["code"] == "organization_closed"


def test_owners_read_everything_and_change_nothing(closed: Organization, owner: User, key: Key, send: Send) -> None:
    send(EVENT, now=utc_now())
    limit = set_limit(closed, "10")
    client = signed_in(owner)
    page = client.get("/o/acme/admin/usage/").content.decode()
    assert "Acme Research is closed" in parse(page).text
    assert client.get("/usage/summary").json()["cost_usd"] == "0.5"
    for path in ("organizations/apicredential/", "organizations/auditentry/", "billing/spendlimit/"):
        listed = client.get(f"/o/acme/admin/{path}")
        assert listed.status_code == 200
        assert "/add/" not in listed.content.decode(), path
    limits = "/o/acme/admin/billing/spendlimit/"
    assert client.get(f"{limits}add/").status_code == 403
    refused = client.post(f"{limits}{limit.pk}/change/", {"amount_usd": "20"})
    assert refused.status_code == 302
    assert "cannot be changed" in client.get(refused["Location"]).content.decode()
    assert client.post(f"/admin/billing/spendlimit/{limit.pk}/change/", {"amount_usd": "20"}).status_code == 403
    assert client.get("/admin/billing/spendlimit/add/").status_code == 403
    body = {"name": "x"}
    assert client.patch("/organizations/acme", body, content_type="application/json").status_code == 403
    limit.refresh_from_db()
    assert limit.amount_usd == 10


def test_other_members_see_when_it_will_be_deleted_and_nothing_else(closed: Organization, viewer: User) -> None:
    client = signed_in(viewer)
    refused = client.get("/o/acme/admin/usage/", headers={"Accept": "text/html"})
    assert refused.status_code == 403
    assert "The organization is closed and will be deleted on" in refused.content.decode()
    assert client.get("/organizations/acme").json()["code"] == "organization_closing"
    assert client.get("/usage/summary").json()["code"] == "no_organization"
    assert client.get("/organizations").json()["results"] == []
    assert client.get("/memberships/acme").json()["closes_at"] == iso(closed.closes_at)
    assert client.get("/admin/")["Location"].startswith("/admin/login")
    text = parse(client.get("/account/organizations").content.decode()).text
    assert "will be deleted on" in text
    assert "Until then an owner can reopen it." in text
    invited = Membership.objects.create(organization=closed, user=viewer_of_nothing(), accepted_at=None)
    refused = signed_in(invited.user).post("/memberships/acme/accept")
    assert (refused.status_code, refused.json()["code"]) == (409, "organization_closing")


def viewer_of_nothing() -> User:
    return User.objects.create_user("new@acme.example", "correct-horse-battery")


def test_owners_get_an_email_when_it_is_closed_a_week_before_its_deletion_and_when_it_is_reopened(
    organization: Organization, owner: User, viewer: User, operator_api: APIClient
) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        operator_api.post("/organizations/acme/close", {"slug": "acme"})
        organization.refresh_from_db()
        at = organization.closes_at
        assert at is not None
        day = f"{at:%b} {at.day}, {at.year}"
        assert sent() == [(owner.email, f"Your organization on costtrack will be deleted on {day}")]
        text = str(mail.outbox[0].body)
        assert "closed the organization “Acme Research”" in text
        assert f"/o/acme/admin/organizations/organization/{organization.pk}/change/" in text
        assert sent() == []
        clock.shift(timedelta(days=22))
        remind_owners(now=utc_now())
        assert sent() == []
        clock.shift(timedelta(days=1, minutes=1))
        remind_owners(now=utc_now())
        remind_owners(now=utc_now())
        assert [to for to, _ in sent()] == [owner.email]
        assert "less than a week" in str(mail.outbox[0].body)
        operator_api.post("/organizations/acme/reopen")
        assert sent() == [(owner.email, "Your organization on costtrack is open again")]


def test_an_organization_that_is_closing_gets_no_notices_until_it_is_reopened(
    closed: Organization, owner: User, send: Send, operator_api: APIClient
) -> None:
    set_limit(closed, "0.1")
    send(EVENT, now=utc_now())
    assert enforce_all(now=utc_now()).notices == 0
    operator_api.post("/organizations/acme/reopen")
    assert enforce_all(now=utc_now()).notices == 1


@pytest.mark.django_db(transaction=True)
def test_the_archive_has_everything_but_secrets(
    closed: Organization, owner: User, key: Key, send: Send, other_organization: Organization
) -> None:
    send(EVENT, {**EVENT, "id": "e-2", "model": "=cmd", "kind": "model_call", "input_tokens": 5}, now=utc_now())
    send({**EVENT, "id": "foreign"}, to=other_organization, now=utc_now())
    set_limit(closed, "10")
    response = signed_in(owner).get("/organizations/acme/archive")
    assert response["Content-Disposition"] == f'attachment; filename="acme-{utc_now():%Y-%m-%d}.zip"'
    content = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert [json.loads(line)["id"] for line in files["events.ndjson"].splitlines()] == ["e-1", "e-2"]
    assert [json.loads(line)["amount_usd"] for line in files["limits.ndjson"].splitlines()] == ["10"]
    assert [json.loads(line)["user_email"] for line in files["members.ndjson"].splitlines()] == [owner.email]
    assert "organization.closed" in files["audit-log.ndjson"]
    assert key.credential.client_id in files["credentials.ndjson"]
    assert json.loads(files["organization.ndjson"])["slug"] == "acme"
    assert "'=cmd" in files["usage-by-day.csv"]
    everything = "\n".join(files.values())
    assert "foreign" not in everything
    assert "globex" not in everything
    assert not {"secret_hash", "api_key_hashes"} & set(json.loads(files["credentials.ndjson"].splitlines()[0]))
    assert key.credential.secret_hash not in everything
    for name in files.keys() - {"README.txt"}:
        assert name in files["README.txt"]
    assert AuditEntry.objects.filter(action="organization.exported", actor=owner.email).exists()


def test_an_open_organization_needs_a_plan_with_exports_and_all_history_for_the_archive(
    key: Key, organization: Organization
) -> None:
    refused = key.client().get("/organizations/acme/archive")
    assert (refused.status_code, body_of(refused)["code"]) == (403, "plan_without_exports")
    organization.plan.exports = True
    organization.plan.save()
    assert body_of(key.client().get("/organizations/acme/archive"))["code"] == "plan_history"
    organization.plan.history_days = None
    organization.plan.save()
    assert key.client().get("/organizations/acme/archive").status_code == 200
    reader = make_key(organization, Scope.COSTS_READ).client()
    assert body_of(reader.get("/organizations/acme/archive"))["code"] == "missing_scope"
