"""The security log, and lockouts that cannot be used against others."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import ProgrammingError, transaction
from django.test import Client

from costtrack.clock import utc_now
from costtrack.tenancy import tenant_scope
from organizations import security_log
from organizations.models import Organization, SecurityEvent, User
from organizations.types import SecurityEventKind
from tests.organizations.accounts.conftest import sign_in

PASSWORD = "correct-horse-battery"


def kinds(**filters: Any) -> list[str]:
    return list(SecurityEvent.objects.filter(**filters).order_by("pk").values_list("kind", flat=True))


def client_at(address: str) -> Client:
    return Client(REMOTE_ADDR=address)


def test_sign_ins_failures_and_sign_outs_are_written_with_the_address(owner: User) -> None:
    client = client_at("192.0.2.1")
    sign_in(client, owner.email, "wrong")
    sign_in(client, "unknown@acme.example", "wrong")
    sign_in(client, owner.email, PASSWORD)
    client.post("/account/logout")
    assert kinds() == ["sign_in_failed", "sign_in_failed", "signed_in", "signed_out"]
    assert set(SecurityEvent.objects.values_list("address", flat=True)) == {"192.0.2.1"}
    assert kinds(email="unknown@acme.example") == ["sign_in_failed"]


@pytest.mark.parametrize("page", ["/admin/logout/", "/o/acme/admin/logout/"])
def test_signing_out_of_the_admin_pages_is_written_too(page: str, owner: User) -> None:
    """There, a request sees only rows of organizations."""
    client = client_at("192.0.2.1")
    sign_in(client, owner.email, PASSWORD)
    assert client.post(page).status_code == 302
    assert kinds(email=owner.email) == ["signed_in", "signed_out"]


def test_events_can_be_written_and_read_where_only_one_organization_is_seen(
    owner: User, organization: Organization
) -> None:
    with tenant_scope(organization.pk):
        for _ in range(2):
            security_log.record(SecurityEventKind.LOCKED_OUT, email=owner.email, address="192.0.2.1", user=owner)
        security_log.record(SecurityEventKind.SIGNED_IN, email=owner.email, address="192.0.2.1", user=owner)
        assert security_log.is_known_address(owner.email, "192.0.2.1")
        assert [event.kind for event in security_log.recent_events(owner)] == ["signed_in", "locked_out"]
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            SecurityEvent.objects.exists()
    assert kinds() == ["locked_out", "signed_in"]


def test_the_address_is_that_of_the_trusted_proxy(owner: User, settings: Any) -> None:
    headers = {"x-forwarded-for": "203.0.113.66, 198.51.100.7"}
    Client().post("/account/login", {"login": owner.email, "password": "wrong"}, headers=headers)
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    Client().post("/account/login", {"login": owner.email, "password": "wrong"}, headers=headers)
    assert list(SecurityEvent.objects.order_by("pk").values_list("address", flat=True)) == ["127.0.0.1", "198.51.100.7"]


def test_resets_are_written(owner: User) -> None:
    client_at("192.0.2.1").post("/account/password/reset", {"email": owner.email})
    assert kinds(email=owner.email, address="192.0.2.1") == ["reset_requested"]


def test_wrong_passwords_from_elsewhere_do_not_lock_a_user_out(owner: User) -> None:
    attacker = client_at("203.0.113.9")
    for _ in range(7):
        page = sign_in(attacker, owner.email, "wrong")
    assert "Too many attempts" in page.content.decode()
    assert kinds(address="203.0.113.9") == ["sign_in_failed"] * 5 + ["locked_out"]
    assert sign_in(client_at("192.0.2.1"), owner.email, PASSWORD).status_code == 302


def test_attempts_from_all_addresses_are_limited_but_for_known_ones(owner: User, settings: Any) -> None:
    assert sign_in(client_at("192.0.2.1"), owner.email, PASSWORD).status_code == 302
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "login_by_user": "3/h/key"}
    for number in range(4):
        sign_in(client_at(f"203.0.113.{number}"), owner.email, "wrong")
    assert sign_in(client_at("198.51.100.1"), owner.email, PASSWORD).status_code == 200, "an unknown address"
    assert sign_in(client_at("192.0.2.1"), owner.email, PASSWORD).status_code == 302


def test_a_user_sees_the_own_events_and_an_operator_all(owner: User, viewer: User, operator: User) -> None:
    security_log.record(SecurityEventKind.SIGN_IN_FAILED, email=owner.email.upper(), address="203.0.113.9")
    client = Client()
    client.force_login(owner)
    assert "203.0.113.9" in client.get("/account/security").content.decode()
    client.force_login(viewer)
    assert "203.0.113.9" not in client.get("/account/security").content.decode()
    page = "/admin/organizations/securityevent/"
    assert client.get(page).status_code == 403
    client.force_login(operator)
    assert "203.0.113.9" in client.get(page).content.decode()
    event = SecurityEvent.objects.filter(address="203.0.113.9").get()
    assert client.post(f"{page}{event.pk}/delete/", {"post": "yes"}).status_code == 403


def test_old_events_are_deleted(db: None) -> None:
    security_log.record(SecurityEventKind.SIGN_IN_FAILED, email="a@b.example", address="x")
    security_log.expire(now=utc_now() + timedelta(days=300))
    assert SecurityEvent.objects.count() == 1
    security_log.expire(now=utc_now() + timedelta(days=401))
    assert SecurityEvent.objects.count() == 0


@pytest.mark.parametrize("email", ["x" * 400 + "@acme.example", "a\x00b@acme.example"])
def test_odd_addresses_are_no_error(email: str, db: None) -> None:
    security_log.record(SecurityEventKind.LOCKED_OUT, email=email, address="x")
    security_log.record(SecurityEventKind.LOCKED_OUT, email=email, address="x")
    assert SecurityEvent.objects.count() == 1
