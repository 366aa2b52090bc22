"""Who gets emails about notices: owners and admins, the user whom a limit is about, and added addresses; never someone
who has left."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from rest_framework.test import APIClient

from billing.limits.increases import grant, request_increase
from billing.models import Delivery, IncreaseRequest, NotificationAddress
from billing.notifications.emails import RECIPIENT_LEFT, deliver_emails
from billing.notifications.outbox import notify
from billing.notifications.recipients import MAX_PER_HOUR
from billing.types import DeliveryState, IncreaseState, LimitScope, NoticeKind
from costtrack.clock import utc_now
from costtrack.errors import ConflictError
from organizations.models import Membership, Organization, User
from organizations.principals import Principal
from organizations.services import leave
from organizations.types import Role
from tests.conftest import add_member
from tests.limits import set_limit

ADDRESSES = "/organizations/acme/notification-addresses"


def paused(
    organization: Organization, scope: LimitScope = LimitScope.ORGANIZATION, value: str = "", **details: Any
) -> None:
    limit: dict[str, Any] = {"id": 1, "scope": scope.value, "scope_value": value, "window": "lifetime"}
    limit |= {"amount_usd": "100", "action": "pause", **details}
    data = {"organization": organization.slug, "limit": limit, "spent_usd": "100", "remaining_usd": "0"}
    notify(organization=organization, kind=NoticeKind.PAUSED, subject="Paused", data=data, now=utc_now())


def recipients() -> list[str]:
    return sorted(Delivery.objects.values_list("recipient", flat=True))


def sent() -> list[str]:
    deliver_emails(now=utc_now() + timedelta(seconds=1))
    return sorted(message.to[0] for message in mail.outbox)


def test_the_user_whom_a_limit_is_about_is_notified_too(organization: Organization, owner: User, viewer: User) -> None:
    add_member(organization, "ada@acme.example", Role.MEMBER)
    paused(organization, LimitScope.USER, "ada@acme.example")
    assert recipients() == ["ada@acme.example", owner.email]
    Delivery.objects.all().delete()
    Membership.objects.filter(user__email="ada@acme.example").update(user_ids=["ada", "lovelace"])
    paused(organization, LimitScope.USER, "lovelace")
    assert recipients() == ["ada@acme.example", owner.email]
    Delivery.objects.all().delete()
    paused(organization, LimitScope.TAG, "ada")
    assert recipients() == [owner.email]


@pytest.mark.parametrize(
    ("scope", "value", "conditions"),
    [
        (LimitScope.USER, "ada@acme.example", [("team", "core")]),
        (LimitScope.USER, "ada@acme.example x gpt-4o", [("model", "")]),
        (LimitScope.TEAM, "core", [("user", "ada@acme.example")]),
        (LimitScope.TEAM, "core x ada@acme.example", [("user", "")]),
        (LimitScope.MODEL, "gpt-4o x core x ada@acme.example", [("team", ""), ("user", "")]),
    ],
)
def test_the_user_of_a_limit_with_several_conditions_is_notified(
    organization: Organization, owner: User, scope: LimitScope, value: str, conditions: list[tuple[str, str]]
) -> None:
    add_member(organization, "ada@acme.example", Role.MEMBER)
    paused(organization, scope, value, conditions=[{"scope": name, "scope_value": of} for name, of in conditions])
    assert recipients() == ["ada@acme.example", owner.email]


def test_a_member_who_wants_no_such_notices_gets_none(organization: Organization, owner: User) -> None:
    ada = add_member(organization, "ada@acme.example", Role.MEMBER)
    client = APIClient()
    client.force_login(ada)
    path = "/organizations/acme/notification-preferences"
    assert client.patch(path, {"pauses": False}, format="json").status_code == 200
    paused(organization, LimitScope.USER, ada.email)
    assert recipients() == [owner.email]


def test_the_button_of_a_member_leads_to_the_own_usage(organization: Organization, owner: User) -> None:
    add_member(organization, "ada@acme.example", Role.MEMBER)
    paused(organization, LimitScope.USER, "ada@acme.example")
    assert sent() == ["ada@acme.example", owner.email]
    by_recipient = {message.to[0]: str(message.body) for message in mail.outbox}
    assert "/o/acme/admin/my-usage/" in by_recipient["ada@acme.example"]
    assert "/o/acme/admin/billing/spendlimit/1/change/" in by_recipient[owner.email]


def test_an_organization_adds_addresses(organization: Organization, owner: User, api: APIClient) -> None:
    added = api.post(ADDRESSES, {"address": "finance@acme.example", "categories": ["pauses"]}, format="json")
    assert added.status_code == 201
    assert api.post(ADDRESSES, {"address": "Finance@acme.example"}, format="json").status_code == 409
    assert api.post(ADDRESSES, {"address": "x@y.example", "categories": ["x"]}, format="json").status_code == 422
    paused(organization)
    assert recipients() == ["finance@acme.example", owner.email]
    notify(organization=organization, kind=NoticeKind.WEBHOOK_DISABLED, subject="x", data={}, now=utc_now())
    assert recipients() == ["finance@acme.example", owner.email, owner.email]
    assert api.delete(f"{ADDRESSES}/{added.json()['id']}").status_code == 204
    assert "finance@acme.example" not in sent(), "removed before it was sent"


def test_addresses_are_added_and_removed_in_the_web_ui(organization: Organization, owner: User, viewer: User) -> None:
    client = Client()
    client.force_login(owner)
    page = "/o/acme/admin/billing/notificationaddress/"
    form = {"organization": organization.pk, "address": "finance@acme.example", "categories": ["usage"]}
    assert client.post(f"{page}add/", form).status_code == 302
    row = NotificationAddress.objects.get()
    assert (row.address, row.categories) == ("finance@acme.example", ["usage"])
    assert "Prices and usage" in client.get(page).content.decode()
    assert client.post(f"{page}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not NotificationAddress.objects.exists()
    client.force_login(viewer)
    assert client.get(page).status_code == 403


def test_no_one_who_has_left_gets_an_answer(organization: Organization, owner: User, viewer: User) -> None:
    limit = set_limit(organization, "1")
    now = utc_now()
    request: IncreaseRequest = request_increase(
        organization=organization,
        limit=limit,
        value="",
        amount_usd=Decimal(5),
        reason="More.",
        until=now + timedelta(days=1),
        actor=Principal(user=viewer),
        now=now,
    )
    leave(membership=viewer.memberships.get())
    request.refresh_from_db()
    assert request.state == IncreaseState.DECLINED
    assert viewer.email not in recipients()
    with pytest.raises(ConflictError, match="already declined"):
        grant(
            organization=organization,
            request=request,
            amount_usd=None,
            until=None,
            answer="internal words",
            acting_as=Role.OWNER,
            actor=Principal(user=owner),
            now=now,
        )
    assert viewer.email not in recipients()


def test_what_was_queued_before_a_member_left_is_not_sent(organization: Organization, owner: User) -> None:
    admin = add_member(organization, "admin@acme.example", Role.ADMIN)
    paused(organization)
    assert recipients() == [admin.email, owner.email]
    leave(membership=admin.memberships.get())
    assert sent() == [owner.email]
    dropped = Delivery.objects.get(recipient=admin.email)
    assert (dropped.state, dropped.last_error) == (DeliveryState.FAILED, RECIPIENT_LEFT)


def test_an_invited_owner_gets_no_notices(organization: Organization, owner: User) -> None:
    invited = User.objects.create_user("invited@acme.example")
    Membership.objects.create(organization=organization, user=invited, role=Role.OWNER, accepted_at=None)
    paused(organization)
    assert recipients() == [owner.email]


def test_a_recipient_gets_so_many_in_an_hour_and_no_more(organization: Organization, owner: User) -> None:
    for _ in range(MAX_PER_HOUR + 2):
        paused(organization)
    states = list(Delivery.objects.order_by("pk").values_list("state", flat=True))
    assert states == ["pending"] * MAX_PER_HOUR + ["failed"] * 2


@pytest.mark.parametrize("value", ["Your bank: https://evil.example", "x\r\nBcc: a@b.example"])
def test_no_text_of_a_sender_is_in_the_subject(organization: Organization, owner: User, value: str) -> None:
    Organization.objects.filter(pk=organization.pk).update(name="Win https://evil.example")
    organization.refresh_from_db()
    paused(organization, LimitScope.USER, value)
    sent()
    assert [message.subject for message in mail.outbox] == ["Access paused: acme (100% of $100.00)"]
