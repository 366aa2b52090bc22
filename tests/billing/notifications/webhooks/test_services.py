"""Webhooks are made, changed, given new secrets and removed; the audit log has all of it, without the secrets."""

from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from billing.models import WebhookEndpoint
from billing.notifications import webhooks
from billing.notifications.webhook_signatures import decrypt
from billing.notifications.webhooks import MAX_WEBHOOKS, SELECTABLE_KINDS
from billing.types import DeliveryState, NoticeKind, WebhookFormat
from costtrack.clock import utc_now
from costtrack.errors import ConflictError, InvalidError, NotFoundError
from organizations.models import AuditEntry, Organization
from tests.billing.notifications.webhooks.conftest import AddWebhook, CreateNotice, delivery_of
from tests.usage import NOW

pytestmark = pytest.mark.usefixtures("loopback")

URL = "http://127.0.0.1:8080/secret-path"
SHOWN = "http://127.0.0.1:8080/\u2026"
ACTOR = "owner@acme.example"


def audited(action: str) -> AuditEntry:
    return AuditEntry.objects.get(action=action)


def test_a_new_webhook_is_notified_of_everything(organization: Organization, add_webhook: AddWebhook) -> None:
    issued = add_webhook(URL, description="On-call")
    webhook = WebhookEndpoint.objects.of(organization).get()
    assert (webhook.url, webhook.description, webhook.format, webhook.kinds) == (URL, "On-call", "standard", [])
    assert (webhook.enabled, webhook.disabled_reason, webhook.failing_since) == (True, "", None)
    assert decrypt(webhook.secret) == issued.secret
    entry = audited("webhook.created")
    assert (entry.actor, entry.subject) == ("tests", f"webhook {webhook.pk}")
    assert entry.details == {"url": SHOWN, "format": "standard", "kinds": []}


def test_kinds_are_stored_once_and_in_their_order(add_webhook: AddWebhook) -> None:
    assert add_webhook(URL, kinds=["limit.resumed", "limit.paused", "limit.resumed"]).webhook.kinds == [
        "limit.paused",
        "limit.resumed",
    ]


@pytest.mark.parametrize("kinds", [["limit.paused", "limit.nothing"], ["test"], [""]])
def test_kinds_that_do_not_exist_are_refused(add_webhook: AddWebhook, kinds: list[str]) -> None:
    with pytest.raises(InvalidError, match="kinds:") as caught:
        add_webhook(URL, kinds=kinds)
    assert caught.value.param == "kinds"


def test_a_format_that_is_unknown_is_refused(add_webhook: AddWebhook) -> None:
    with pytest.raises(InvalidError, match="format:"):
        add_webhook(URL, format="xml")


def test_a_private_address_is_refused(add_webhook: AddWebhook, settings: Settings) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = False
    with pytest.raises(InvalidError, match="not a public address"):
        add_webhook("https://internal.example/", resolve=lambda *_: ["192.168.0.1"])
    assert WebhookEndpoint.objects.count() == 0


def test_an_organization_has_so_many_at_most(
    organization: Organization, other_organization: Organization, add_webhook: AddWebhook
) -> None:
    for _ in range(MAX_WEBHOOKS):
        last = add_webhook(URL).webhook
    with pytest.raises(ConflictError) as caught:
        add_webhook(URL)
    assert caught.value.code == "too_many_webhooks"
    add_webhook(URL, to=other_organization)
    webhooks.remove_webhook(organization=organization, webhook=last, actor=ACTOR, now=NOW)
    add_webhook(URL)


def test_what_is_given_is_changed(
    organization: Organization, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    webhook, notice = add_webhook(URL).webhook, create_notice()
    url = "http://127.0.0.1:9090/"
    changed = webhooks.change_webhook(
        organization=organization, webhook=webhook, url=url, kinds=[NoticeKind.PAUSED], description="", actor=ACTOR
    )
    webhook.refresh_from_db()
    assert (webhook.url, webhook.kinds) == (changed.url, changed.kinds) == (url, ["limit.paused"])
    assert audited("webhook.changed").details == {"changed": ["kinds", "url"], "url": "http://127.0.0.1:9090/\u2026"}
    assert delivery_of(notice).recipient == url


def test_what_has_been_delivered_keeps_the_url_it_went_to(
    organization: Organization, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    webhook, notice = add_webhook(URL).webhook, create_notice()
    notice.deliveries.update(state=DeliveryState.SENT)
    webhooks.change_webhook(organization=organization, webhook=webhook, url="http://127.0.0.1:9090/", actor=ACTOR)
    assert delivery_of(notice).recipient == URL


def test_what_is_the_same_is_no_change(organization: Organization, add_webhook: AddWebhook) -> None:
    webhook = add_webhook(URL).webhook
    same: dict[str, Any] = {"url": URL, "format": WebhookFormat.STANDARD, "kinds": [], "description": None}
    webhooks.change_webhook(organization=organization, webhook=webhook, **same, actor=ACTOR)
    assert not AuditEntry.objects.filter(action="webhook.changed").exists()


def test_a_removed_webhook_leaves_the_log_of_its_deliveries(
    organization: Organization, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    webhook, sent, pending = add_webhook(URL).webhook, create_notice(), create_notice()
    sent.deliveries.update(state=DeliveryState.SENT)
    webhooks.remove_webhook(organization=organization, webhook=webhook, actor=ACTOR, now=NOW)

    assert not WebhookEndpoint.objects.exists()
    for notice, state in ((sent, DeliveryState.SENT), (pending, DeliveryState.FAILED)):
        delivery = delivery_of(notice)
        assert (delivery.webhook_id, delivery.recipient, delivery.state) == (None, URL, state)
    assert delivery_of(pending).last_error == "The webhook was removed."
    assert audited("webhook.removed").details == {"url": SHOWN}


def test_a_rotated_secret_stays_valid_for_the_grace(organization: Organization, add_webhook: AddWebhook) -> None:
    first = add_webhook(URL)
    grace = timedelta(hours=1)
    second = webhooks.rotate_webhook(
        organization=organization, webhook=first.webhook, grace=grace, now=NOW, actor=ACTOR
    )
    webhook = WebhookEndpoint.objects.get()
    assert (decrypt(webhook.secret), decrypt(webhook.previous_secret)) == (second.secret, first.secret)
    assert webhook.previous_valid_until == NOW + grace
    assert audited("webhook.rotated").details == {"grace_seconds": 3600}


def test_without_grace_the_secret_before_is_gone(organization: Organization, add_webhook: AddWebhook) -> None:
    webhook = add_webhook(URL).webhook
    webhooks.rotate_webhook(organization=organization, webhook=webhook, grace=timedelta(0), now=NOW, actor=ACTOR)
    webhook.refresh_from_db()
    assert (webhook.previous_secret, webhook.previous_valid_until) == ("", None)


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), timedelta(days=30, seconds=1)])
def test_the_grace_is_at_most_thirty_days(
    organization: Organization, add_webhook: AddWebhook, grace: timedelta
) -> None:
    webhook = add_webhook(URL).webhook
    with pytest.raises(InvalidError, match="grace_seconds"):
        webhooks.rotate_webhook(organization=organization, webhook=webhook, grace=grace, now=NOW, actor=ACTOR)


def test_a_webhook_is_disabled_and_enabled_by_hand(
    organization: Organization, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    webhook, notice = add_webhook(URL).webhook, create_notice()
    for _ in range(2):
        webhook = webhooks.disable_webhook(organization=organization, webhook=webhook, actor=ACTOR, now=NOW)
    assert (webhook.enabled, webhook.disabled_reason) == (False, "Disabled manually.")
    assert delivery_of(notice).state == DeliveryState.FAILED
    assert create_notice().deliveries.count() == 0
    for _ in range(2):
        webhook = webhooks.enable_webhook(organization=organization, webhook=webhook, actor=ACTOR)
    assert (webhook.enabled, webhook.disabled_reason) == (True, "")
    assert audited("webhook.disabled").actor == audited("webhook.enabled").actor == ACTOR


def test_a_disabled_webhook_is_not_tested(organization: Organization, add_webhook: AddWebhook) -> None:
    webhook = add_webhook(URL).webhook
    webhooks.disable_webhook(organization=organization, webhook=webhook, actor=ACTOR, now=NOW)
    with pytest.raises(ConflictError) as caught:
        webhooks.send_test(organization=organization, webhook=webhook, actor=ACTOR, now=NOW)
    assert caught.value.code == "webhook_disabled"


def test_a_test_message_is_a_delivery_to_that_webhook(organization: Organization, add_webhook: AddWebhook) -> None:
    webhook = add_webhook(URL, kinds=[NoticeKind.PAUSED]).webhook
    add_webhook(URL)
    delivery = webhooks.send_test(organization=organization, webhook=webhook, actor=ACTOR, now=NOW)
    assert (delivery.webhook, delivery.notice.kind, delivery.notice.data) == (webhook, "test", {"organization": "acme"})
    assert delivery.notice.deliveries.count() == 1
    assert audited("webhook.tested").subject == f"webhook {webhook.pk}"


def test_another_organizations_webhook_is_not_touched(
    other_organization: Organization, add_webhook: AddWebhook
) -> None:
    webhook = add_webhook(URL).webhook
    about: dict[str, Any] = {"organization": other_organization, "webhook": webhook, "actor": ACTOR}
    for attempt in (
        lambda: webhooks.change_webhook(**about, description="x"),
        lambda: webhooks.remove_webhook(**about, now=NOW),
        lambda: webhooks.rotate_webhook(**about, grace=timedelta(0), now=NOW),
        lambda: webhooks.enable_webhook(**about),
        lambda: webhooks.disable_webhook(**about, now=NOW),
        lambda: webhooks.send_test(**about, now=NOW),
    ):
        with pytest.raises(NotFoundError):
            attempt()
    assert WebhookEndpoint.objects.get().enabled


def test_no_entry_of_the_audit_log_has_a_secret(organization: Organization, add_webhook: AddWebhook) -> None:
    issued = add_webhook(URL)
    rotated = webhooks.rotate_webhook(
        organization=organization, webhook=issued.webhook, grace=timedelta(days=1), now=utc_now(), actor=ACTOR
    )
    webhooks.send_test(organization=organization, webhook=issued.webhook, actor=ACTOR, now=utc_now())
    webhooks.remove_webhook(organization=organization, webhook=issued.webhook, actor=ACTOR, now=utc_now())
    log = str(list(AuditEntry.objects.values()))
    for secret in (issued.secret, rotated.secret, "whsec_", "secret-path"):
        assert secret not in log


def test_every_kind_but_the_test_and_reports_may_be_chosen() -> None:
    assert set(SELECTABLE_KINDS) == set(NoticeKind) - {NoticeKind.TEST, NoticeKind.REPORT}
