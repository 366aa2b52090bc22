"""The page of one run: its costs, its place in the tree, and its newest events."""

from urllib.parse import unquote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.models import UsageEvent
from costtrack.names import clean_name
from costtrack.organization_paths import organization_url
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.dashboard.test_runs import HTMX, call, text, tree
from tests.conftest import Key
from tests.usage import Send

__all__ = ["tree"]  # a fixture from another module

ODD = (
    "a/b/c",
    "a//b",
    "/a/",
    "..",
    ".",
    "a/../b",
    "100%",
    "100%25",
    "~2F",
    "~",
    "a?b#c&d=e",
    "ä/日本/🙂",
    "with space ",
    "line\nbreak",
    "tab\tand\\back",
    "children",
    "a+b",
    "x" * 255,
)


def page_of(run_id: str) -> str:
    return organization_url("acme", "run", run_id)


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("run_id", ["root", "left", "leaf", "never sent", "lost"])
def test_costs_are_those_of_the_api_by_service_and_group(
    run_id: str, owner: User, sign_in: SignIn, key: Key, send: Send
) -> None:
    send(
        call("left", "0.5", service="openai", cost_group="drafts"),
        call("leaf", "0.25", service="anthropic", model="claude-3-opus"),
        call("root", "3", service="openai"),
    )
    shown = sign_in(owner).get(page_of(run_id)).context["costs"]
    for costs, include_children in zip(shown, ("false", "true"), strict=True):
        answer = key.client().get(f"/costs/runs/{run_id}", {"include_children": include_children}).json()
        services = {service: float(cost) for service, group, cost in costs.table.rows if not group}
        groups: dict[str, dict[str, float]] = {service: {} for service in services}
        for service, group, cost in costs.table.rows:
            if group:
                groups[service][group] = float(cost)
        assert (float(costs.amount[1:]), services, groups) == (
            pytest.approx(answer["total_cost"], abs=0.005),
            pytest.approx(answer["costs_by_service"], abs=0.005),
            {name: pytest.approx(of_service, abs=0.005) for name, of_service in answer["costs_by_group"].items()},
        )


@pytest.mark.usefixtures("tree")
def test_the_way_up_and_what_is_below_are_links(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    page = browser.get(page_of("leaf"))
    assert page.context["above"] == [("root", page_of("root")), ("left", page_of("left"))]
    assert page.context["branch"].lines == []
    below = browser.get(page_of("root")).context["branch"]
    assert [(line.run_id, line.url) for line in below.lines] == [
        ("left", page_of("left")),
        ("right", page_of("right")),
    ]


@pytest.mark.usefixtures("tree")
def test_the_newest_events_lead_to_their_pages(owner: User, sign_in: SignIn) -> None:
    page = text(sign_in(owner), page_of("leaf"))
    for event in UsageEvent.objects.filter(run_id="leaf"):
        assert organization_url("acme", "billing_usageevent_change", event.pk) in page
    assert organization_url("acme", "request_log") + "?run=leaf" in page


@pytest.mark.parametrize("run_id", ODD)
def test_an_address_leads_to_exactly_its_run(run_id: str, owner: User, sign_in: SignIn, send: Send) -> None:
    send(call(run_id, "1"), call("child of it", "2", run_id), call("other", "4"))
    browser = sign_in(owner)
    address = page_of(run_id)
    assert "//" not in address
    assert "/../" not in unquote(address)
    response = browser.get(address)
    assert response.status_code == 200
    assert response.context["run"].run_id == clean_name(run_id)
    assert response.context["costs"][1].amount == "$3.00"
    result = browser.get(organization_url("acme", "runs")).context["lines"]
    assert page_of(clean_name(run_id)) in [line.url for line in result]
    branch = browser.get(organization_url("acme", "run_children", run_id), headers=HTMX).context["branch"]
    assert [line.run_id for line in branch.lines] == ["child of it"]


def test_a_circle_is_said_to_be_one(owner: User, sign_in: SignIn, send: Send) -> None:
    send(call("a", "1", "b"), call("b", "2", "a"))
    page = sign_in(owner).get(page_of("a"))
    assert page.context["has_cycle"]
    assert page.context["above"] == [("b", page_of("b"))]
    assert page.context["costs"][1].amount == "$3.00"


@pytest.mark.parametrize("run_id", ["nobody", "theirs", "a~00b"])
def test_an_unknown_run_and_one_of_others_are_the_same(
    run_id: str, owner: User, other_organization: Organization, sign_in: SignIn, send: Send
) -> None:
    send(call("theirs", "1"), to=other_organization)
    response = sign_in(owner).get(f"/o/acme/admin/runs/r/{run_id}/")
    assert response.status_code == 404
    assert "Run not found" in response.content.decode()
    assert "theirs" not in response.content.decode().replace("runs/r/theirs", "")


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("who", ["owner", "viewer", "operator"])
def test_each_role_that_may_read_sees_the_page(who: str, request: pytest.FixtureRequest, sign_in: SignIn) -> None:
    assert sign_in(request.getfixturevalue(who)).get(page_of("root")).status_code == 200


@pytest.mark.usefixtures("tree")
def test_strangers_see_nothing(stranger: User, sign_in: SignIn) -> None:
    assert sign_in(stranger).get(page_of("root")).status_code == 404


def test_a_page_takes_the_same_few_statements_however_much_there_is(owner: User, sign_in: SignIn, send: Send) -> None:
    browser = sign_in(owner)
    send(call("root", "1"), call("child", "1", "root"))

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(page_of("root")).status_code == 200
        return len(captured)

    statements()
    few = statements()
    send(*(call("root", "1") for _ in range(40)), *(call(f"child-{item}", "1", "root") for item in range(40)))
    statements()  # caches the sums of what is not folded
    assert few == statements() <= 22


@pytest.mark.usefixtures("tree")
def test_an_event_leads_to_the_page_of_its_run(owner: User, sign_in: SignIn) -> None:
    event = UsageEvent.objects.get(run_id="right")
    page = text(sign_in(owner), reverse("admin:billing_usageevent_change", args=[event.pk]))
    assert page_of("right") in page


def test_a_url_without_an_organization_redirects_to_one(client: Client, owner: User, send: Send) -> None:
    send(call("a/b", "1"))
    client.force_login(owner)
    response = client.get(reverse("admin:run", args=["a/b"]))
    assert (response.status_code, response["Location"]) == (302, page_of("a/b"))
