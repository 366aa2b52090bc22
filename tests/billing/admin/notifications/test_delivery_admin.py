"""The admin's log of deliveries: who sees what of it, and sending again."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.outbox import notify
from billing.notifications.webhooks import create_webhook, remove_webhook
from billing.types import Channel, DeliveryState, NoticeKind
from organizations.models import AuditEntry, Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import text
from tests.usage import NOW

LIST = "/admin/billing/delivery/"
HOOK = "https://hooks.acme.example/services/T0/secret-path"


def page_of(delivery: Delivery, action: str = "change") -> str:
    return reverse(f"admin:billing_delivery_{action}", args=[delivery.pk])


def create_delivery(organization: Organization, *, to: str = "owner@acme.example") -> Delivery:
    """A test message by email."""
    notice = notify(
        organization=organization,
        kind=NoticeKind.TEST,
        subject=f"A test message for {organization.name}",
        data={"organization": organization.slug},
        now=NOW,
        to=[to],
        webhooks=(),
    )
    return notice.deliveries.get()


def rows(client: Client, **query: str | int) -> list[int]:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return [delivery.pk for delivery in response.context["cl"].result_list]


@pytest.fixture
def webhook(organization: Organization) -> WebhookEndpoint:
    return create_webhook(organization=organization, url=HOOK, actor="tests", now=NOW).webhook


@pytest.fixture
def failed(organization: Organization, webhook: WebhookEndpoint) -> Delivery:
    """A webhook's message that was given up."""
    kind = NoticeKind.TEST
    notice = notify(organization=organization, kind=kind, subject="A test", data={}, now=NOW, to=(), webhooks=[webhook])
    notice.deliveries.update(
        state=DeliveryState.FAILED, attempts=10, finished_at=NOW, last_status=503, last_error=f"Answered 503: {HOOK}"
    )
    return notice.deliveries.get()


def test_members_see_their_organizations_deliveries_newest_first(
    owner: User,
    viewer: User,
    stranger: User,
    organization: Organization,
    other_organization: Organization,
    sign_in: SignIn,
) -> None:
    first, second = create_delivery(organization), create_delivery(organization)
    theirs = create_delivery(other_organization, to="owner@globex.example")
    assert rows(sign_in(owner)) == rows(sign_in(viewer)) == [second.pk, first.pk]
    assert rows(sign_in(stranger)) == [theirs.pk]
    response = sign_in(owner).get(page_of(theirs), follow=True)
    assert response.redirect_chain[0][0] == "/admin/"


def test_the_page_shows_what_is_sent_and_what_became_of_it(owner: User, failed: Delivery, sign_in: SignIn) -> None:
    page = text(sign_in(owner), page_of(failed))
    for shown in ("A test", "Failed", HOOK, "Answered 503", failed.message_id, "Webhook payload"):
        assert shown in page
    assert "Answered 503" in text(sign_in(owner), LIST)


def test_an_e_mail_is_shown_as_it_is_sent(owner: User, organization: Organization, sign_in: SignIn) -> None:
    page = text(sign_in(owner), page_of(create_delivery(organization)))
    assert 'sandbox srcdoc="&lt;!doctype html&gt;' in page
    assert "owner@acme.example" in page


def test_what_callers_have_named_is_no_markup(owner: User, organization: Organization, sign_in: SignIn) -> None:
    organization.name = "<script>alert(1)</script>"
    organization.save()
    for path in (LIST, page_of(create_delivery(organization))):
        page = text(sign_in(owner), path)
        assert "alert(1)" in page
        assert "<script>alert" not in page


def test_a_viewer_sees_neither_the_whole_address_nor_errors(
    viewer: User, failed: Delivery, organization: Organization, sign_in: SignIn
) -> None:
    mail = create_delivery(organization)
    browser = sign_in(viewer)
    for path in (LIST, page_of(failed), page_of(mail)):
        page = text(browser, path)
        assert "secret-path" not in page
        assert "owner@acme.example" not in page
    assert "https://hooks.acme.example/…" in text(browser, LIST)
    assert "…@acme.example" in text(browser, LIST)


def test_what_was_given_up_is_sent_again(owner: User, failed: Delivery, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    assert HOOK in text(browser, page_of(failed, "send_again"))
    done = browser.post(page_of(failed, "send_again"), follow=True)
    assert "Delivery queued again." in done.content.decode()
    failed.refresh_from_db()
    assert (failed.state, failed.attempts) == (DeliveryState.PENDING, 0)
    assert AuditEntry.objects.get(action="delivery.resent").actor == owner.email


def test_what_cannot_be_sent_again_says_why(
    owner: User, failed: Delivery, webhook: WebhookEndpoint, sign_in: SignIn
) -> None:
    remove_webhook(organization=webhook.organization, webhook=webhook, actor=owner.email, now=NOW)
    refused = sign_in(owner).post(page_of(failed, "send_again"), follow=True)
    assert "The webhook was removed" in refused.content.decode()


@pytest.mark.parametrize("who", ["viewer", "stranger"])
def test_who_may_not_change_the_organization_sends_nothing_again(
    who: str, failed: Delivery, request: pytest.FixtureRequest, sign_in: SignIn
) -> None:
    browser = sign_in(request.getfixturevalue(who))
    if who == "viewer":
        assert page_of(failed, "send_again") not in text(browser, page_of(failed))
    assert browser.post(page_of(failed, "send_again")).status_code == 403
    failed.refresh_from_db()
    assert failed.state == DeliveryState.FAILED


def test_filters_narrow_the_list(
    owner: User, failed: Delivery, webhook: WebhookEndpoint, organization: Organization, sign_in: SignIn
) -> None:
    mail = create_delivery(organization)
    browser = sign_in(owner)
    assert rows(browser, state="failed") == rows(browser, webhook=webhook.pk) == [failed.pk]
    assert rows(browser, channel=Channel.EMAIL) == rows(browser, state="pending") == [mail.pk]
    assert rows(browser, kind="test") == rows(browser, kind="?", state="?") == [mail.pk, failed.pk]
    assert rows(browser, kind="limit.paused") == rows(browser, webhook="x") == []


def test_the_list_takes_the_same_few_statements(owner: User, organization: Organization, sign_in: SignIn) -> None:
    browser = sign_in(owner)

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(LIST).status_code == 200
        return len(captured)

    create_delivery(organization)
    few = statements()
    for _ in range(55):
        create_delivery(organization)
    assert statements() == few <= 16
