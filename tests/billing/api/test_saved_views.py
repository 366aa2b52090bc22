"""`/organizations/{slug}/views`: saved views by API are those of the explorer."""

from typing import Any

from django.test import Client
from rest_framework.test import APIClient

from billing import saved_views
from billing.admin.dashboard.explore.explore_form import ExploreForm
from billing.models import SavedView
from organizations.models import AuditEntry, Organization, User
from organizations.types import Scope
from tests.conftest import make_key

PATH = "/organizations/acme/views"
PARAMETERS = {"group_by": "team", "columns": "week"}


def signed_in(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def post(api: APIClient, **body: Any) -> Any:
    return api.post(PATH, {"parameters": PARAMETERS, **body}, format="json")


def test_a_shared_view_is_created_changed_opened_and_deleted(api: APIClient, owner: User) -> None:
    created = post(api, name=" Teams ", is_shared=True, is_default=True)
    assert created.status_code == 201
    view = created.json()
    assert (view["name"], view["parameters"], view["is_shared"]) == ("Teams", PARAMETERS, True)
    browser = Client()
    browser.force_login(owner)
    opened: Any = browser.get("/o/acme/admin/explore/", follow=True)
    assert opened.context["form"]["columns"].value() == "week"
    assert view["url"].endswith(f"/o/acme/admin/explore/?group_by=team&columns=week&view={view['id']}")
    row = f"{PATH}/{view['id']}"
    changed = api.patch(row, {"name": "Models", "parameters": {"group_by": "model"}}, format="json").json()
    assert (changed["name"], changed["parameters"], changed["is_default"]) == ("Models", {"group_by": "model"}, True)
    assert not api.patch(row, {"is_default": False}, format="json").json()["is_default"]
    assert api.get(PATH).json()["results"] == [{**changed, "is_default": False}]
    assert api.delete(row).status_code == 204
    assert api.get(row).status_code == 404
    actions = AuditEntry.objects.filter(action__startswith="view.").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["view.created", "view.changed", "view.changed", "view.deleted"]


def test_private_views_are_of_their_user(owner: User, viewer: User, api: APIClient, other_api: APIClient) -> None:
    as_owner, as_viewer = signed_in(owner), signed_in(viewer)
    mine = post(as_owner, name="Mine").json()
    post(as_viewer, name="Mine")
    shared = post(as_owner, name="Ours", is_shared=True).json()
    assert [view["name"] for view in as_viewer.get(PATH).json()["results"]] == ["Ours", "Mine"]
    assert [view["name"] for view in api.get(PATH).json()["results"]] == ["Ours"]
    assert as_viewer.get(f"{PATH}/{mine['id']}").status_code == 404
    refused = as_viewer.patch(f"{PATH}/{shared['id']}", {"name": "Theirs"}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_role")
    assert post(as_viewer, name="Shared", is_shared=True).status_code == 403
    assert post(api, name="Private").json()["code"] == "no_private_views"
    assert other_api.get(f"/organizations/globex/views/{shared['id']}").status_code == 404
    assert SavedView.objects.count() == 3


def test_invalid_views_name_the_field(api: APIClient, organization: Organization) -> None:
    for body, field in (
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "parameters": {"after": "1"}}, "parameters"),
        ({"name": "x", "parameters": {"search": "a" * 4_001}}, "parameters"),
        ({"name": "x", "shared": True}, "shared"),
    ):
        response = post(api, **{"is_shared": True, **body})
        assert response.status_code in (400, 422), body
        assert field in response.content.decode()
    assert post(api, name="x", is_shared=True).status_code == 201
    assert post(api, name="x", is_shared=True).json()["code"] == "name_taken"
    assert api.patch(f"{PATH}/{SavedView.objects.get().pk}", {}, format="json").status_code in (400, 422)
    reads = make_key(organization, Scope.COSTS_READ).client()
    assert post(reads, name="y", is_shared=True).status_code == 403


def test_its_parameters_are_those_of_the_page() -> None:
    assert set(saved_views.PARAMETERS) == set(ExploreForm().fields)
