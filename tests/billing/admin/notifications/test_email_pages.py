"""The admin's pages about emails: what they look like, and which ones a member gets."""

import pytest
from django.test import Client

from billing.models import NotificationPreference
from billing.notifications.email_examples import example_notice, example_organization
from billing.notifications.emails import email_subject
from billing.types import NoticeKind
from costtrack.clock import utc_now
from organizations.models import AuditEntry, Membership, Organization, User
from organizations.types import Role

PREVIEWS, PREFERENCES = "/admin/email-previews/", "/admin/notification-preferences/"


@pytest.fixture
def signed_in(client: Client, owner: User) -> Client:
    client.force_login(owner)
    return client


@pytest.mark.parametrize("kind", list(NoticeKind))
def test_each_kind_has_a_preview_of_both_parts(kind: NoticeKind, signed_in: Client) -> None:
    response = signed_in.get(PREVIEWS, {"kind": kind.value})
    assert response.status_code == 200
    page = response.content.decode()
    assert '<iframe title="HTML version" sandbox srcdoc="&lt;!doctype html&gt;' in page
    assert "You get this because" in page
    notice, organization = example_notice(kind, now=utc_now()), example_organization()
    assert f"<h2>{email_subject(notice, organization)}</h2>" in page
    assert 'aria-current="page"' in page


def test_a_kind_that_is_none_is_not_found(signed_in: Client) -> None:
    assert signed_in.get(PREVIEWS, {"kind": "limit.imagined"}).status_code == 404


def test_previews_are_for_those_who_run_something(client: Client, viewer: User, operator: User) -> None:
    client.force_login(viewer)
    assert client.get(PREVIEWS).status_code == 403
    assert "/email-previews/" not in client.get("/o/acme/admin/billing/webhookendpoint/").content.decode()
    client.force_login(operator)
    assert client.get(PREVIEWS).status_code == 200
    assert "/email-previews/" in client.get("/o/acme/admin/billing/webhookendpoint/").content.decode()


def test_a_member_chooses_for_each_organization(
    signed_in: Client, owner: User, organization: Organization, other_organization: Organization
) -> None:
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    page = signed_in.get(PREFERENCES).content.decode()
    assert "Acme Research" in page
    assert "Globex Labs" in page
    filters = {
        f"{slug}-{name}": "on" for slug in ("acme", "globex") for name in ("pauses", "requests", "usage", "webhooks")
    }
    response = signed_in.post(PREFERENCES, {**filters, "globex-warnings": "on"})
    assert response.status_code == 302
    preference = NotificationPreference.objects.get()
    assert (preference.organization, preference.warnings, preference.pauses) == (organization, False, True)
    assert AuditEntry.objects.get(action="notification_preference.changed").details == {"warnings": "off"}


def test_saving_without_a_change_writes_nothing(signed_in: Client) -> None:
    names = ("warnings", "pauses", "requests", "usage", "webhooks")
    signed_in.post(PREFERENCES, {f"acme-{name}": "on" for name in names})
    assert not NotificationPreference.objects.exists()
    assert not AuditEntry.objects.exists()


def test_other_peoples_preferences_cannot_be_named(signed_in: Client, stranger: User) -> None:
    del stranger
    signed_in.post(PREFERENCES, {"globex-warnings": "", "acme-warnings": "on"})
    assert set(NotificationPreference.objects.values_list("organization__slug", flat=True)) <= {"acme"}


def test_who_is_a_member_of_nothing_is_notified_of_nothing(client: Client, operator: User) -> None:
    client.force_login(operator)
    assert "not a member of any organization" in client.get(PREFERENCES).content.decode()


def test_pages_need_a_sign_in(client: Client, db: None) -> None:
    assert client.get(PREVIEWS).status_code == 302
    assert client.get(PREFERENCES).status_code == 302
