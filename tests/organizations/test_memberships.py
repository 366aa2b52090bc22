"""Invitations that count when they are accepted, leaving, and what a member calls the own usage."""

from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from costtrack.clock import utc_now
from organizations import services
from organizations.accounts.delivery import deliver_account_emails
from organizations.models import AuditEntry, FormerSlug, Membership, Organization, User
from organizations.types import Role
from tests.conftest import Key, add_member

MEMBERS, PAGE = "/organizations/acme/members", "/account/organizations"


def signed_in(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def sent() -> list[EmailMessage]:
    """Send what is queued, and return all emails."""
    deliver_account_emails(now=utc_now())
    return mail.outbox


def invite(api: APIClient, email: str, **more: Any) -> Any:
    response = api.post(MEMBERS, {"email": email, **more}, format="json")
    assert response.status_code == 201, response.content
    return response.json()


def test_a_known_and_an_unknown_address_are_answered_alike(api: APIClient, stranger: User) -> None:
    stranger.name = "Ann Stranger"
    stranger.save()
    known, unknown = invite(api, stranger.email.title()), invite(api, "New@Nowhere.Example")
    assert known["state"] == unknown["state"] == "invited"
    assert (known["email"], unknown["email"]) == (stranger.email, "new@nowhere.example")
    assert known["user_ids"] == [stranger.email, stranger.email.title()]
    assert unknown["user_ids"] == ["new@nowhere.example", "New@Nowhere.Example"]
    assert "Ann" not in str(Membership.objects.get(pk=known["id"]))
    assert len(sent()) == 2
    assert {message.subject for message in mail.outbox} == {"Invitation to an organization on costtrack"}


def test_an_invitation_gives_nothing_before_it_is_accepted(api: APIClient, stranger: User) -> None:
    invite(api, stranger.email, role="admin")
    client = signed_in(stranger)
    assert client.get("/organizations/acme").status_code == 404
    assert client.get("/o/acme/admin/usage/").status_code == 404
    assert client.post("/memberships/acme/accept").json()["state"] == "joined"
    assert signed_in(stranger).get("/organizations/acme").status_code == 200
    assert signed_in(stranger).get("/o/acme/admin/usage/").status_code == 200


def test_no_organization_can_lock_out_the_people_of_another(
    organization: Organization, other_organization: Organization, owner: User, stranger: User
) -> None:
    """Inviting a user, and then requiring a second factor, changes nothing for that person elsewhere."""
    services.add_member(
        organization=organization, email=stranger.email, role="viewer", acting_as=Role.OWNER, actor="tests"
    )
    Organization.objects.filter(pk=organization.pk).update(requires_second_factor=True)
    client = signed_in(stranger)
    assert client.get("/o/globex/admin/usage/").status_code == 200
    assert client.get("/organizations/globex").status_code == 200
    assert client.get("/usage/summary?organization=globex").status_code == 200
    # Also as a member, the second factor is required only in the organization that requires it, and the user can leave.
    assert client.post("/memberships/acme/accept").status_code == 200
    client = signed_in(stranger)
    assert client.get("/o/globex/admin/usage/").status_code == 200
    assert client.get("/organizations/globex").status_code == 200
    refused = client.get("/organizations/acme")
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
    assert client.get("/o/acme/admin/usage/")["Location"] == "/account/security"
    FormerSlug.objects.create(slug="acme-old", organization=organization, changed_at=utc_now())
    for path in ("/organizations/acme-old", "/usage/summary?organization=acme-old"):
        assert client.get(path).json()["code"] == "second_factor_required"
    redirected = client.get("/o/acme-old/admin/usage/")
    assert client.get(redirected["Location"])["Location"] == "/account/security"
    assert client.delete("/memberships/acme").status_code == 204
    assert signed_in(stranger).get("/admin/", follow=True).status_code == 200


def test_operators_need_a_second_factor_only_if_the_installation_says_so(
    organization: Organization, operator: User, settings: Any
) -> None:
    Organization.objects.filter(pk=organization.pk).update(requires_second_factor=True)
    assert signed_in(operator).get("/organizations/acme").status_code == 200
    assert signed_in(operator).get("/o/acme/admin/usage/").status_code == 200
    settings.OPERATORS_NEED_SECOND_FACTOR = True
    assert signed_in(operator).get("/organizations/acme").status_code == 403
    assert signed_in(operator).get("/o/acme/admin/usage/")["Location"] == "/account/security"


def test_all_members_except_the_last_owner_may_leave(owner: User, viewer: User, organization: Organization) -> None:
    assert signed_in(viewer).delete("/memberships/acme").status_code == 204
    refused = signed_in(owner).delete("/memberships/acme")
    assert (refused.status_code, refused.json()["code"]) == (409, "last_owner")
    add_member(organization, "second@acme.example", Role.OWNER)
    assert signed_in(owner).delete("/memberships/acme").status_code == 204
    actions = AuditEntry.objects.of(organization).values_list("action", "actor")
    assert ("member.left", viewer.email) in actions


def test_an_owner_who_has_not_accepted_does_not_count_as_one(owner: User, organization: Organization) -> None:
    rights: dict[str, Any] = {"acting_as": Role.OWNER, "actor": "tests"}
    services.add_member(organization=organization, email="new@acme.example", role="owner", **rights)
    assert signed_in(owner).delete("/memberships/acme").status_code == 409


def test_the_page_of_the_account_accepts_declines_and_leaves(
    organization: Organization, other_organization: Organization, stranger: User, owner: User
) -> None:
    membership = Membership.objects.create(organization=organization, user=stranger, accepted_at=None)
    client = Client()
    client.force_login(stranger)
    page = client.get(PAGE).content.decode()
    assert "Invitation from Acme Research" in page
    assert "Globex Labs" in page
    done = client.post(PAGE, {"membership": membership.pk, "action": "accept"}, follow=True)
    assert "You joined Acme Research." in done.content.decode()
    done = client.post(PAGE, {"membership": membership.pk, "action": "leave"}, follow=True)
    assert "You left Acme Research." in done.content.decode()
    last = stranger.memberships.get()
    done = client.post(PAGE, {"membership": last.pk, "action": "leave"}, follow=True)
    assert "needs at least one owner" in done.content.decode()
    foreign = owner.memberships.get()
    for values in ({"membership": foreign.pk, "action": "leave"}, {"membership": "x"}, {"membership": last.pk}):
        assert client.post(PAGE, values).status_code == 404


def test_who_is_only_invited_signs_in_to_the_invitations(organization: Organization, api: APIClient) -> None:
    User.objects.create_user("known@elsewhere.example", "correct-horse-battery")
    invite(api, "known@elsewhere.example")
    client = Client()
    client.post("/account/login", {"login": "known@elsewhere.example", "password": "correct-horse-battery"})
    assert client.get("/admin/")["Location"].startswith("/admin/login")
    assert client.get("/admin/", follow=True).redirect_chain[-1][0] == PAGE


def test_credentials_have_no_memberships(api: APIClient) -> None:
    refused = api.get("/memberships")
    assert (refused.status_code, refused.json()["code"]) == (403, "users_only")


def test_invitations_of_one_address_are_limited(api: APIClient, organization: Organization) -> None:
    for _ in range(3):
        member = invite(api, "often@acme.example")
        assert api.delete(f"{MEMBERS}/{member['id']}").status_code == 204
    refused = api.post(MEMBERS, {"email": "Often@acme.example"}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_invitations")
    assert sent() == [], "a withdrawn invitation is not sent"


def test_sending_an_invitation_again_is_limited_too(organization: Organization, owner: User) -> None:
    rights: dict[str, Any] = {"acting_as": Role.OWNER, "actor": "tests"}
    membership = services.add_member(organization=organization, email="a@b.example", role="viewer", **rights)
    client = Client()
    client.force_login(owner)
    page = reverse("admin:organizations_membership_invite_again", args=[membership.pk])
    for _ in range(5):
        client.post(f"/o/acme{page}")
    assert len(sent()) == 3


def test_an_organizations_name_is_not_in_the_subject_of_an_invitation(api: APIClient) -> None:
    for name in (
        *("Click https://evil.example/login to win", "evil.com/win", "www .evil.com", "HTTP:\u2215\u2215evil.com"),
        *("evil\uff0ecom\uff0fwin", "evil.com?win", "ann@evil.com", "Win\x1b[31m", "Win\u202e"),
    ):
        assert api.patch("/organizations/acme", {"name": name}, format="json").status_code == 422, name
    for name in ("Booking.com", "R&D / Acme Inc.", "Bar @ Home, v1.25/2", "Acme"):
        assert api.patch("/organizations/acme", {"name": name}, format="json").status_code == 200, name
    invite(api, "new@nowhere.example")
    assert "Acme" not in sent()[0].subject


def test_user_ids_are_the_address_by_default_and_changed_by_admins(
    api: APIClient, viewer: User, key: Key, organization: Organization
) -> None:
    member = api.get(f"{MEMBERS}?email={viewer.email}").json()["results"][0]
    assert member["user_ids"] == [viewer.email]
    path = f"{MEMBERS}/{member['id']}"
    changed = api.patch(path, {"user_ids": ["ada", " ada ", "ada@old.example"]}, format="json").json()
    assert changed["user_ids"] == ["ada", "ada@old.example"]
    assert api.patch(path, {}, format="json").status_code == 422
    assert signed_in(viewer).patch(path, {"user_ids": ["bob"]}, format="json").status_code == 403
    assert signed_in(viewer).get("/memberships/acme").json()["user_ids"] == ["ada", "ada@old.example"]
    assert api.patch(path, {"user_ids": None}, format="json").json()["user_ids"] == [viewer.email]
    assert AuditEntry.objects.of(organization).filter(action="member.user_ids_changed").count() == 2


def test_user_ids_are_changed_on_the_page_of_a_member(owner: User, viewer: User) -> None:
    client = Client()
    client.force_login(owner)
    membership = viewer.memberships.get()
    page = f"/o/acme/admin/organizations/membership/{membership.pk}/change/"
    assert client.post(page, {"role": "member", "user_ids": "ada\nlovelace"}).status_code == 302
    membership.refresh_from_db()
    assert (membership.role, membership.user_ids) == ("member", ["ada", "lovelace"])
    assert "ada\nlovelace" in client.get(page).content.decode()


@pytest.mark.parametrize("path", [PAGE, "/memberships"])
def test_who_is_not_signed_in_sees_nothing(path: str, organization: Organization) -> None:
    assert Client().get(path).status_code in (302, 401)
