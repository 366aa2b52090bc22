"""Teams: by API and in the web UI, and who gets notices about their limits."""

import pytest
from django.test import Client

from billing.models import Delivery
from billing.notifications.outbox import notify
from billing.notifications.recipients import allowed_recipients
from billing.types import LimitScope, NoticeKind
from costtrack.clock import utc_now
from organizations.models import AuditEntry, Membership, Organization, Team, User
from organizations.services import remove_member
from organizations.types import Role
from tests.conftest import Key, add_member

TEAMS = "/organizations/acme/teams"
PAGE = "/o/acme/admin/organizations/team/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(organization: Organization) -> User:
    return add_member(organization, "ada@acme.example", Role.MEMBER)


@pytest.fixture
def team(key: Key, ada: User) -> Team:
    body = {
        "name": " search ",
        "display_name": "Search",
        "members": ["Ada@acme.example"],
        "addresses": ["search@acme.example"],
    }
    created = key.client().post(TEAMS, body, format="json")
    assert created.status_code == 201, created.content
    assert created.json()["members"] == ["ada@acme.example"]
    return Team.objects.get()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def recipients_about(organization: Organization, team: str, kind: NoticeKind = NoticeKind.PAUSED) -> set[str]:
    notice = notify(
        organization=organization,
        kind=kind,
        subject="Paused",
        data={"limit": {"scope": LimitScope.TEAM.value, "scope_value": team}},
        now=utc_now(),
    )
    return set(Delivery.objects.filter(notice=notice).values_list("recipient", flat=True))


def test_a_team_is_created_changed_listed_and_removed_with_an_audit_log(key: Key, team: Team) -> None:
    client, path = key.client(), f"{TEAMS}/{team.pk}"
    assert client.get(TEAMS).json()["results"] == [client.get(path).json()]
    assert client.get(f"{TEAMS}?name=search").json()["count"] == 1
    assert client.get(f"{TEAMS}?name=other").json()["count"] == 0
    assert client.post(TEAMS, {"name": "search"}, format="json").status_code == 409
    changed = client.patch(path, {"name": "find", "members": []}, format="json").json()
    assert (changed["name"], changed["display_name"], changed["members"]) == ("find", "Search", [])
    assert client.patch(path, {}, format="json").json() == changed
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    actions = AuditEntry.objects.filter(action__startswith="team.").order_by("pk")
    assert list(actions.values_list("action", "subject")) == [
        ("team.created", "search"),
        ("team.changed", "find"),
        ("team.removed", "find"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": " "},
        {"name": "x\0y"},
        {"name": "x" * 256},
        {"name": "x", "members": ["stranger@globex.example"]},
        {"name": "x", "members": "ada@acme.example"},
        {"name": "x", "addresses": ["no-address"]},
        {"name": "x", "addresses": [f"{number}@acme.example" for number in range(11)]},
        {"name": "x", "member_ids": [1]},
    ],
)
def test_what_is_no_team_is_refused(key: Key, stranger: User, body: dict[str, object]) -> None:
    refused = key.client().post(TEAMS, body, format="json")
    assert refused.status_code == 422
    assert refused.json()["fields"]
    assert not Team.objects.exists()


def test_notices_about_a_team_go_to_its_members_and_addresses(
    organization: Organization, team: Team, ada: User, owner: User
) -> None:
    about = {owner.email, ada.email, "search@acme.example"}
    assert recipients_about(organization, "search") == about
    assert recipients_about(organization, "other") == {owner.email}
    assert set(allowed_recipients(organization=organization, addresses=about)) == about
    invited = add_member(organization, "invited@acme.example", Role.VIEWER)
    Membership.objects.filter(user=invited).update(accepted_at=None)
    team.member_ids.append(Membership.objects.get(user=invited).pk)
    team.save()
    assert recipients_about(organization, "search") == about, "who has not accepted gets none"
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert recipients_about(organization, "search") == {owner.email, "search@acme.example"}


def test_who_has_left_gets_no_notice_not_even_a_pending_one(
    organization: Organization, team: Team, ada: User, owner: User
) -> None:
    member = Membership.objects.get(user=ada)
    remove_member(organization=organization, membership=member, acting_as=Role.OWNER, actor=owner.email)
    assert recipients_about(organization, "search") == {owner.email, "search@acme.example"}
    assert allowed_recipients(organization=organization, addresses=[ada.email]) == {}
    Team.objects.update(addresses=[])
    assert allowed_recipients(organization=organization, addresses=["search@acme.example"]) == {}


def test_a_member_sees_the_own_teams_and_not_those_of_others(team: Team, ada: User, organization: Organization) -> None:
    Team.objects.create(organization=organization, name="secret", display_name="Others")
    client = signed_in(ada)
    assert client.get("/memberships").json()["results"][0]["teams"] == ["search"]
    page = client.get("/o/acme/admin/my-usage/").content.decode()
    assert "Your teams: Search." in page
    assert "Others" not in page
    assert client.get(TEAMS).status_code == client.get(PAGE).status_code == 403


@pytest.mark.parametrize(("role", "status"), [(Role.OWNER, 200), (Role.ADMIN, 200), (Role.VIEWER, 403)])
def test_page_and_api_have_the_same_answer(organization: Organization, role: Role, status: int) -> None:
    client = signed_in(add_member(organization, "someone@acme.example", role))
    assert client.get(TEAMS).status_code == client.get(PAGE).status_code == status


def test_the_page_does_what_the_api_does(organization: Organization, owner: User, ada: User) -> None:
    client = signed_in(owner)
    assert "No teams yet" in client.get(PAGE).content.decode()
    given = {"organization": organization.pk, "name": "search", "members": "ada@acme.example\n", "addresses": ""}
    refused = client.post(f"{PAGE}add/", {**given, "members": "x@x.example"}, follow=True)
    assert "not a member: x@x.example" in refused.content.decode().lower()
    assert client.post(f"{PAGE}add/", given).status_code == 302
    team = Team.objects.get()
    assert "ada@acme.example" in client.get(f"{PAGE}{team.pk}/change/").content.decode()
    changed = {"name": "search", "display_name": "<b>Search</b>", "members": "", "addresses": "a@acme.example"}
    assert client.post(f"{PAGE}{team.pk}/change/", changed).status_code == 302
    team.refresh_from_db()
    assert (team.member_ids, team.addresses, team.display_name) == ([], ["a@acme.example"], "<b>Search</b>")
    assert "<b>Search" not in client.get(PAGE).content.decode()
    assert client.post(f"{PAGE}{team.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Team.objects.exists()
    actions = AuditEntry.objects.filter(action__startswith="team.").values_list("action", "actor")
    assert {actor for _, actor in actions} == {owner.email}
    assert len(actions) == 3


def test_teams_of_another_organization_are_out_of_reach(team: Team, stranger: User, other_key: Key) -> None:
    assert other_key.client().get(f"/organizations/globex/teams/{team.pk}").status_code == 404
    assert other_key.client().get(TEAMS).status_code == 404
    assert signed_in(stranger).get(f"/o/globex/admin/organizations/team/{team.pk}/change/").status_code == 302


def test_the_form_of_a_limit_suggests_the_teams(team: Team, owner: User, other_organization: Organization) -> None:
    Team.objects.create(organization=other_organization, name="theirs")
    page = signed_in(owner).get("/o/acme/admin/billing/spendlimit/add/").content.decode()
    assert '<option value="search"></option>' in page
    assert "theirs" not in page
