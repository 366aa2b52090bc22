"""The outbox: a notice and its deliveries are written with what they tell of, for those who want to know."""

from datetime import timedelta

import pytest
from django.db import transaction

from billing.models import Delivery, Notice, NotificationPreference, WebhookEndpoint
from billing.notifications import outbox
from billing.notifications.outbox import notify
from billing.notifications.preferences import CATEGORIES
from billing.types import Channel, DeliveryState, NoticeKind
from costtrack import heartbeat
from costtrack.tenancy import tenant_scope
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.billing.notifications.factories import create_notice
from tests.usage import NOW


def addresses(notice: Notice) -> list[str]:
    return list(notice.deliveries.filter(channel=Channel.EMAIL).order_by("pk").values_list("recipient", flat=True))


def member(organization: Organization, email: str, role: Role = Role.ADMIN) -> Membership:
    user = User.objects.create_user(email)
    return Membership.objects.create(organization=organization, user=user, role=role)


@pytest.mark.usefixtures("owner", "viewer", "stranger")
def test_owners_and_admins_are_notified_and_viewers_and_strangers_are_not(organization: Organization) -> None:
    member(organization, "admin@acme.example")
    assert addresses(create_notice(organization)) == ["owner@acme.example", "admin@acme.example"]


@pytest.mark.parametrize("kind", list(CATEGORIES))
def test_who_has_turned_a_category_off_is_left_out_of_its_kinds_alone(
    kind: NoticeKind, owner: User, organization: Organization
) -> None:
    preference = NotificationPreference(organization=organization, membership=owner.memberships.get())
    setattr(preference, CATEGORIES[kind], False)
    preference.save()
    others = {each for each in CATEGORIES if CATEGORIES[each] != CATEGORIES[kind]}
    assert addresses(create_notice(organization, kind)) == []
    assert all(addresses(create_notice(organization, each)) == [owner.email] for each in others)


def test_who_cannot_sign_in_any_more_is_not_notified(owner: User, organization: Organization) -> None:
    owner.is_active = False
    owner.save()
    assert addresses(create_notice(organization)) == []


@pytest.mark.usefixtures("owner")
def test_named_recipients_replace_the_others_each_once(organization: Organization) -> None:
    notice = create_notice(
        organization, to=["viewer@acme.example", "ck_12345", "Viewer@ACME.example", "brin@acme.example"]
    )
    assert addresses(notice) == ["Viewer@ACME.example", "brin@acme.example"]


def test_no_recipient_is_no_error(organization: Organization) -> None:
    assert not create_notice(organization).deliveries.exists()


@pytest.mark.usefixtures("owner")
def test_a_delivery_is_due_at_once_and_has_an_id_of_its_own(organization: Organization) -> None:
    member(organization, "admin@acme.example")
    first, second = create_notice(organization).deliveries.order_by("pk")
    assert (first.state, first.attempts, first.next_attempt_at) == (DeliveryState.PENDING, 0, NOW)
    assert first.organization == organization
    assert first.message_id != second.message_id
    assert len(first.message_id) <= 64


def test_enabled_webhooks_that_want_the_kind_are_notified(
    organization: Organization, other_organization: Organization
) -> None:
    def endpoint(name: str, to: Organization = organization, **fields: object) -> WebhookEndpoint:
        url = f"https://{name}.example"
        return WebhookEndpoint.objects.create(organization=to, url=url, secret="x", created_at=NOW, **fields)

    every, wanting = endpoint("every"), endpoint("wanting", kinds=[NoticeKind.PAUSED])
    endpoint("other-kind", kinds=[NoticeKind.RESUMED])
    endpoint("disabled", enabled=False)
    endpoint("stranger", to=other_organization)
    notices = create_notice(organization).deliveries.order_by("pk")
    assert [delivery.webhook for delivery in notices] == [every, wanting]
    assert [delivery.recipient for delivery in notices] == [every.url, wanting.url]
    assert {delivery.channel for delivery in notices} == {Channel.WEBHOOK}


def test_a_subject_is_one_line_however_odd_the_names_in_it(organization: Organization) -> None:
    subject = "User a\r\nBcc: everybody@acme.example\x85b " + "x" * 300
    notice = notify(organization=organization, kind=NoticeKind.TEST, subject=subject, data={}, now=NOW)
    assert notice.subject.startswith("User a Bcc: everybody@acme.example b xxx")
    assert len(notice.subject) == 254


@pytest.mark.usefixtures("owner")
def test_it_works_with_the_rights_of_a_tenant(organization: Organization) -> None:
    with tenant_scope(organization.pk):
        notice = create_notice(organization)
    assert addresses(notice) == ["owner@acme.example"]


@pytest.mark.usefixtures("owner")
@pytest.mark.django_db(transaction=True)
def test_a_task_is_enqueued_once_it_is_committed_and_nothing_stays_of_a_rollback(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_ENQUEUE_INTERVAL", timedelta(hours=1))  # the first message may take long
    heartbeat.client().flushdb()
    with transaction.atomic():
        create_notice(organization)
        transaction.set_rollback(True)
    assert not Delivery.objects.exists()
    assert heartbeat.read().pending["notifications"] == 0
    with transaction.atomic():
        create_notice(organization)
        create_notice(organization)
        assert heartbeat.read().pending["notifications"] == 0
    assert heartbeat.read().pending["notifications"] == 1
