"""The admin's pages of webhooks: made, changed, rotated, tried out, disabled and removed."""

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.secrets import decrypt
from billing.notifications.webhooks import create_webhook, disable_webhook
from billing.types import NoticeKind
from organizations.models import AuditEntry, Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import text
from tests.usage import NOW

LIST = "/admin/billing/webhookendpoint/"
ADD = f"{LIST}add/"
HOOK = "https://hooks.acme.example/services/secret-path"
ACTIONS = ("test", "rotate", "enable", "disable", "remove")


def page_of(webhook: WebhookEndpoint, action: str = "change") -> str:
    return reverse(f"admin:billing_webhookendpoint_{action}", args=[webhook.pk])


def message(client: Client, path: str, data: dict[str, str] | None = None) -> str:
    """The page that follows a form that was sent."""
    response = client.post(path, data or {}, follow=True)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


@pytest.fixture
def webhook(organization: Organization) -> WebhookEndpoint:
    issued = create_webhook(organization=organization, url=HOOK, description="On call", actor="tests", now=NOW)
    return issued.webhook


def test_a_new_webhooks_secret_is_shown_once(owner: User, organization: Organization, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    given = {"organization": organization.pk, "url": HOOK, "description": "", "format": "slack"}
    answer = browser.post(ADD, {**given, "kinds": ["limit.paused", "limit.resumed"]})
    webhook = WebhookEndpoint.objects.get()
    secret = decrypt(webhook.secret)
    assert secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert (webhook.format, webhook.kinds) == ("slack", ["limit.paused", "limit.resumed"])
    for path in (LIST, page_of(webhook)):
        assert secret not in text(browser, path)
        assert "Access paused, Access resumed" in text(browser, path)
    assert AuditEntry.objects.get(action="webhook.created").actor == owner.email


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "ftp://acme.example", "not a url", "https://u:p@acme.example", ""]
)
def test_an_address_that_cannot_be_is_refused_beside_the_field(
    url: str, owner: User, organization: Organization, webhook: WebhookEndpoint, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    given = {"organization": organization.pk, "url": url, "description": "", "format": "standard"}
    for path in (ADD, page_of(webhook)):
        response = browser.post(path, given)
        assert list(response.context["adminform"].form.errors) == ["url"]
    assert [webhook.url for webhook in WebhookEndpoint.objects.all()] == [HOOK]


def test_a_webhook_is_changed(owner: User, webhook: WebhookEndpoint, sign_in: SignIn) -> None:
    given = {"url": f"{HOOK}-2", "description": "Night shift", "format": "standard"}
    page = message(sign_in(owner), page_of(webhook), given)
    assert "Night shift" in page
    webhook.refresh_from_db()
    assert (webhook.url, webhook.kinds) == (f"{HOOK}-2", [])


def test_a_rotated_secret_is_shown_once(owner: User, webhook: WebhookEndpoint, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    before = decrypt(webhook.secret)
    assert "shown once" in text(browser, page_of(webhook, "rotate"))
    page = message(browser, page_of(webhook, "rotate"), {"grace_seconds": "3600"})
    webhook.refresh_from_db()
    assert decrypt(webhook.secret) in page
    assert decrypt(webhook.previous_secret) == before
    assert "Previous secret" in text(browser, page_of(webhook))


def test_a_test_message_leads_to_its_delivery(owner: User, webhook: WebhookEndpoint, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    page = message(browser, page_of(webhook, "test"))
    assert "Test queued." in page
    delivery = Delivery.objects.select_related("notice").get()
    assert delivery.notice.kind == NoticeKind.TEST
    assert delivery.message_id in page
    assert delivery.notice.subject in text(browser, page_of(webhook))


def test_a_disabled_webhook_says_why_and_is_enabled_again(
    owner: User, webhook: WebhookEndpoint, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    assert page_of(webhook, "enable") not in text(browser, page_of(webhook))
    message(browser, page_of(webhook, "disable"))
    page = text(browser, page_of(webhook))
    assert "No messages are sent: Disabled manually." in page
    assert page_of(webhook, "test") not in page
    assert "is disabled. Enable it first" in message(browser, page_of(webhook, "test"))
    assert " enabled." in message(browser, page_of(webhook, "enable"))
    webhook.refresh_from_db()
    assert webhook.enabled


def test_a_webhook_is_removed_and_its_log_stays(owner: User, webhook: WebhookEndpoint, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    message(browser, page_of(webhook, "test"))
    assert "Webhook removed." in message(browser, page_of(webhook, "remove"))
    assert not WebhookEndpoint.objects.exists()
    delivery = Delivery.objects.get()
    assert HOOK in text(browser, reverse("admin:billing_delivery_change", args=[delivery.pk]))


def test_a_viewer_sees_only_the_host_and_changes_nothing(
    viewer: User, webhook: WebhookEndpoint, sign_in: SignIn
) -> None:
    browser = sign_in(viewer)
    WebhookEndpoint.objects.update(description="")
    for path in (LIST, page_of(webhook)):
        page = text(browser, path)
        assert "https://hooks.acme.example/…" in page
        assert "secret-path" not in page
        assert 'name="_save"' not in page
    for action in ACTIONS:
        assert page_of(webhook, action) not in text(browser, page_of(webhook))
        assert browser.post(page_of(webhook, action)).status_code == 403
    assert browser.post(page_of(webhook), {"url": "https://evil.example"}).status_code == 403
    assert browser.get(ADD).status_code == 403


def test_a_stranger_finds_nothing(
    stranger: User, webhook: WebhookEndpoint, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(stranger)
    assert list(browser.get(LIST).context["cl"].result_list) == []
    assert browser.get(page_of(webhook), follow=True).redirect_chain[0][0] == "/admin/"
    for action in ACTIONS:
        assert browser.post(page_of(webhook, action)).status_code == 403
    given = {"organization": organization.pk, "url": HOOK, "description": "", "format": "standard"}
    assert list(browser.post(ADD, given).context["adminform"].form.errors) == ["organization"]


def test_an_operator_manages_each_organizations(
    operator: User, webhook: WebhookEndpoint, other_organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(operator)
    disable_webhook(organization=webhook.organization, webhook=webhook, actor="tests", now=NOW)
    assert " enabled." in message(browser, page_of(webhook, "enable"))
    assert list(browser.get(LIST, {"organization": other_organization.pk}).context["cl"].result_list) == []
