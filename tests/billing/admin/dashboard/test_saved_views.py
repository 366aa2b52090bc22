"""Saved views of the explorer: private or shared, named, opened first, and deleted."""

from typing import Any

import pytest
from django.test import Client

from billing import saved_views
from billing.models import SavedView
from organizations.models import AuditEntry, Membership, Organization, User
from organizations.types import Role
from tests.billing.admin.conftest import SignIn

PAGE = "/o/acme/admin/explore/"
VIEWS = f"{PAGE}views/"
PARAMETERS = "group_by=team&columns=week&range=90d"


def post(browser: Client, action: str, **data: Any) -> str:
    """Returns the address that it leads to."""
    response = browser.post(VIEWS, {"action": action, **data})
    assert response.status_code == 302
    return response["Location"]


def names(browser: Client) -> list[str]:
    return [link.view.name for link in browser.get(f"{PAGE}?range=month").context["saved"].links]


@pytest.fixture
def browser(owner: User, sign_in: SignIn) -> Client:
    return sign_in(owner)


def test_a_view_is_saved_opened_renamed_and_deleted(browser: Client) -> None:
    url = post(browser, "create", name="  By team ", parameters=f"{PARAMETERS}&after=x&organization=other")
    view = SavedView.objects.get()
    assert url == f"{PAGE}?{PARAMETERS}&view={view.pk}"
    page = browser.get(url)
    assert [(link.view.name, link.is_current) for link in page.context["saved"].links] == [("By team", True)]
    assert page.context["form"]["columns"].value() == "week"
    assert "Rename" in page.content.decode()
    post(browser, "rename", view=view.pk, name="Teams")
    assert names(browser) == ["Teams"]
    assert post(browser, "delete", view=view.pk) == f"{PAGE}?range=month"
    assert names(browser) == []
    assert not AuditEntry.objects.filter(action__startswith="view.").exists()


def test_a_private_view_is_of_its_user_alone(
    browser: Client, viewer: User, stranger: User, operator: User, sign_in: SignIn
) -> None:
    post(browser, "create", name="Mine", parameters=PARAMETERS)
    view = SavedView.objects.get()
    for other in (viewer, operator):
        client = sign_in(other)
        assert names(client) == []
        for action in ("rename", "default", "delete"):
            post(client, action, view=view.pk, name="Stolen")
    assert sign_in(stranger).post(VIEWS, {"action": "delete", "view": view.pk}).status_code == 404
    view.refresh_from_db()
    assert (view.name, view.is_default) == ("Mine", False)
    post(sign_in(viewer), "create", name="Mine", parameters="")
    assert names(sign_in(viewer)) == ["Mine"]


def test_shared_views_are_changed_by_owners_and_admins_and_audited(
    browser: Client, viewer: User, organization: Organization, sign_in: SignIn
) -> None:
    client = sign_in(viewer)
    post(client, "create", name="Ours", parameters=PARAMETERS, is_shared="on")
    assert not SavedView.objects.exists()
    post(browser, "create", name="Ours", parameters=PARAMETERS, is_shared="on")
    view = SavedView.objects.get()
    page = client.get(f"{PAGE}?{PARAMETERS}&view={view.pk}")
    assert names(client) == ["Ours"]
    assert "Rename" not in page.content.decode()
    for action in ("rename", "default", "delete"):
        post(client, action, view=view.pk, name="Stolen")
    post(browser, "default", view=view.pk)
    post(browser, "rename", view=view.pk, name="All")
    Membership.objects.filter(user=viewer).update(role=Role.ADMIN)
    post(sign_in(viewer), "delete", view=view.pk)
    entries = AuditEntry.objects.filter(organization=organization, action__startswith="view.").order_by("id")
    assert [(entry.action, entry.subject) for entry in entries] == [
        ("view.created", "Ours"),
        ("view.changed", "Ours"),
        ("view.renamed", "All"),
        ("view.deleted", "All"),
    ]


def test_the_explorer_opens_with_the_own_default_or_the_shared_one(
    browser: Client, viewer: User, sign_in: SignIn
) -> None:
    assert browser.get(PAGE).status_code == 200
    post(browser, "create", name="Ours", parameters="group_by=team", is_shared="on")
    post(browser, "create", name="Mine", parameters="group_by=user")
    shared, mine = SavedView.objects.order_by("id")
    post(browser, "default", view=shared.pk)
    for client in (browser, sign_in(viewer)):
        assert client.get(PAGE)["Location"] == f"{PAGE}?group_by=team&view={shared.pk}"
    post(browser, "default", view=mine.pk)
    assert browser.get(PAGE)["Location"] == f"{PAGE}?group_by=user&view={mine.pk}"
    assert browser.get(f"{PAGE}?range=month").status_code == 200
    post(browser, "no_default", view=mine.pk)
    assert browser.get(PAGE)["Location"].endswith(f"view={shared.pk}")


def test_what_cannot_be_saved_says_why(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_views, "MAX_VIEWS", 2)
    for name, message in (
        ("", "name: enter a name"),
        ("x" * 101, "up to 100 characters"),
        ("a\0b", "name: enter a name"),
        ("One", "is saved"),
        ("One", "exists already"),
        ("Two", "is saved"),
        ("Three", "2 saved views already"),
    ):
        url = post(browser, "create", name=name, parameters="group_by=team")
        assert message in browser.get(url).content.decode(), name
    assert post(browser, "color", view="x") == f"{PAGE}?range=month"
    assert post(browser, "delete", view="9" * 30) == f"{PAGE}?range=month"
    assert SavedView.objects.count() == 2
    assert browser.get(VIEWS)["Location"] == PAGE
