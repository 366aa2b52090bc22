"""The notices in the web UI: a list with what each member has read, and the number at the bell."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import Notice, NoticeReading
from billing.notifications.email_examples import example_notice
from billing.types import NoticeKind
from costtrack.clock import utc_now
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.pages import signed_in

NOTICES, UNREAD = "/o/acme/admin/notices/", "/o/acme/admin/notices/unread/"


def add_notices(organization: Organization, number: int, kind: NoticeKind = NoticeKind.UNPRICED_USAGE) -> list[int]:
    example = example_notice(kind, now=utc_now())
    rows = [
        Notice.objects.create(
            organization=organization, kind=kind, subject="Subject", data=example.data, created_at=example.created_at
        )
        for _ in range(number)
    ]
    return [row.pk for row in rows]


def states(client: Client, path: str = NOTICES) -> list[bool]:
    return [row.is_read for row in client.get(path).context["rows"]]


def unread(client: Client) -> str:
    response = client.get(UNREAD)
    return str(response.context["number"]) if response.status_code == 200 else ""


def test_each_member_has_the_own_unread_notices(organization: Organization, owner: User, viewer: User) -> None:
    first, second, third = add_notices(organization, 3)
    client, other = signed_in(owner), signed_in(viewer)
    assert (unread(client), states(client)) == ("3", [False] * 3)
    assert client.post(NOTICES, {"read": second})["Location"] == NOTICES
    assert (unread(client), states(client)) == ("2", [False, True, False])
    client.post(NOTICES, {"up_to": second})
    assert (unread(client), states(client)) == ("1", [False, True, True]), "a newer one stays unread"
    client.post(NOTICES, {"read": third})
    assert (unread(client), states(client)) == ("0", [True] * 3)
    assert unread(other) == "3"
    assert NoticeReading.objects.filter(membership__user=owner).count() == 1
    assert first


def test_a_reading_goes_with_its_membership(organization: Organization, viewer: User) -> None:
    add_notices(organization, 1)
    signed_in(viewer).post(NOTICES, {"up_to": 2**62})
    assert NoticeReading.objects.count() == 1
    organization.memberships.filter(user=viewer).delete()
    assert NoticeReading.objects.count() == 0


def test_notices_of_others_are_not_shown_and_cannot_be_marked(
    organization: Organization, other_organization: Organization, owner: User
) -> None:
    (foreign,) = add_notices(other_organization, 1)
    client = signed_in(owner)
    assert b"No notices yet" in client.get(NOTICES).content
    client.post(NOTICES, {"read": foreign})
    assert NoticeReading.objects.get().also_read == []
    organization.memberships.filter(user=owner).update(role=Role.MEMBER)
    member = signed_in(owner)
    assert (member.get(NOTICES).status_code, member.get(UNREAD).status_code) == (403, 403)
    assert b"ct-bell" not in member.get("/o/acme/admin/my-usage/").content


@pytest.mark.parametrize("form", [{"read": "x"}, {"up_to": "-1"}, {"read": "9" * 30}, {}])
def test_invalid_ids_change_nothing(organization: Organization, owner: User, form: dict[str, str]) -> None:
    add_notices(organization, 1)
    client = signed_in(owner)
    assert client.post(NOTICES, form).status_code == 302
    assert unread(client) == "1"


def test_the_list_is_paged_and_its_queries_do_not_grow(organization: Organization, owner: User) -> None:
    client = signed_in(owner)
    add_notices(organization, 1)
    client.get(NOTICES)
    with CaptureQueriesContext(connection) as few:
        client.get(NOTICES)
    add_notices(organization, 129)
    with CaptureQueriesContext(connection) as many:
        page = client.get(NOTICES)
    assert len(many) == len(few)
    assert len(page.context["rows"]) == 25
    older = client.get(NOTICES + page.context["older"]).context["rows"]
    assert older[0].notice.pk == page.context["rows"][-1].notice.pk - 1
    assert "99+" in client.get(UNREAD).content.decode()
    assert client.get(f"{NOTICES}?after=x").status_code == 200


def test_operators_read_along_without_a_state(organization: Organization, operator: User) -> None:
    add_notices(organization, 1)
    client = signed_in(operator)
    assert states(client) == [False]
    assert client.get(UNREAD).status_code == 204
    assert client.post(NOTICES, {"up_to": 1}).status_code == 403
    Membership.objects.create(organization=organization, user=operator, role=Role.VIEWER)
    assert unread(signed_in(operator)) == "1"


def test_each_kind_says_what_its_email_says(organization: Organization, owner: User) -> None:
    for kind in NoticeKind:
        add_notices(organization, 1, kind)
    rows = signed_in(owner).get(NOTICES).context["rows"]
    of_one_user = {NoticeKind.TEST, NoticeKind.EXPORT_READY, NoticeKind.EXPORT_FAILED, NoticeKind.REPORT}
    assert [row.notice.kind for row in rows] == [kind for kind in reversed(NoticeKind) if kind not in of_one_user]
    assert all(row.content.headline and row.url.startswith("/o/acme/admin/") for row in rows)
