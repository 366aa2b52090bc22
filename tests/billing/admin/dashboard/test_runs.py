"""The page of runs: the newest trees, with what each run and all runs below it cost."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.admin.dashboard.runs import run_list_page, run_rows
from billing.reports import run_tree
from billing.reports.run_tree import RunRow, get_run_ancestors, get_run_row, list_child_runs, list_runs
from billing.rollups.fold import fold_organization
from costtrack.clock import iso
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.conftest import Key
from tests.usage import NOW, Send

PAGE = "/o/acme/admin/runs/"
HTMX = {"HX-Request": "true"}


def call(run_id: str, cost: str, parent: str = "", **others: Any) -> dict[str, Any]:
    fields = {"run_id": run_id, "cost_usd": cost, "model": "gpt-5", "input_tokens": 10, "output_tokens": 5, **others}
    return {**fields, "parent_run_id": parent} if parent else fields


@pytest.fixture
def tree(send: Send) -> None:
    """Three levels, and a run whose parent has no events."""
    send(
        call("root", "1", workflow_id="report"),
        call("left", "0.2", "root"),
        call("right", "0.03", "root"),
        call("leaf", "0.004", "left"),
        call("leaf", "0.0005", "left"),
        call("lost", "7", "never sent"),
    )


def names(response: Any) -> list[str]:
    return [line.run_id for line in response.context["lines"]]


def text(client: Client, url: str, **query: str) -> str:
    response = client.get(url, query)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def rows_by_id(organization: Organization) -> dict[str, RunRow]:
    roots = list_runs(organization=organization, workflow_id="", after=None, limit=50).rows
    result = {row.run_id: row for row in roots}
    pending = list(roots)
    while pending:
        children = list_child_runs(organization=organization, run_id=pending.pop().run_id, after=None, limit=50).rows
        pending += [child for child in children if child.run_id not in result]
        result |= {child.run_id: child for child in children}
    return result


# --- The numbers -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("state", ["folded", "waiting"])
def test_each_run_costs_what_the_api_says_alone_and_with_all_below(
    state: str, organization: Organization, key: Key
) -> None:
    if state == "folded":
        fold_organization(organization_id=organization.pk, now=NOW)
    api = key.client()
    rows = rows_by_id(organization)
    assert set(rows) == {"root", "left", "right", "leaf", "never sent", "lost"}
    for run_id, row in rows.items():
        alone = api.get(f"/costs/runs/{run_id}").json()["total_cost"]
        subtree_cost = api.get(f"/costs/runs/{run_id}", {"include_children": "true"}).json()["total_cost"]
        assert (float(row.own.cost), float(row.total.cost)) == (alone, subtree_cost), run_id
    assert (rows["root"].total.requests, rows["root"].total.total_tokens, rows["root"].runs_below) == (5, 75, 3)
    assert (rows["never sent"].own.requests, rows["never sent"].total.requests) == (0, 1)


@pytest.mark.usefixtures("tree")
def test_the_list_has_roots_only_the_newest_first_with_sums_of_their_trees(owner: User, sign_in: SignIn) -> None:
    page = sign_in(owner).get(PAGE)
    assert sorted(names(page)) == ["never sent", "root"]
    by_id = {line.run_id: line for line in page.context["lines"]}
    assert (by_id["root"].own.cost, by_id["root"].subtree.cost) == ("$1.00", "$1.23")
    assert by_id["root"].runs_below == "3 child runs"
    assert (by_id["never sent"].own.cost, by_id["never sent"].subtree.cost) == ("$0.00", "$7.00")
    # When their calls occurred, not when they arrived.
    assert all(f'datetime="{iso(NOW)}"' in line.when for line in page.context["lines"])


def test_what_is_unpriced_is_shown(owner: User, sign_in: SignIn, send: Send) -> None:
    send({"run_id": "r", "model": "new-one", "input_tokens": 5})
    page = text(sign_in(owner), PAGE)
    assert "1 unpriced" in page


def test_of_a_tree_that_is_too_large_the_first_runs_are_added_up(
    organization: Organization, owner: User, sign_in: SignIn, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(call("root", "1"), *(call(f"child-{number}", "1", "root") for number in range(5)))
    monkeypatch.setattr(run_tree, "MAX_WALKED", 3)
    (row,) = list_runs(organization=organization, workflow_id="", after=None, limit=9).rows
    assert (row.is_truncated, row.runs_below) == (True, 2)
    (line,) = sign_in(owner).get(PAGE).context["lines"]
    assert line.subtree.cost.endswith("+")
    assert line.runs_below == "at least 2 child runs"
    monkeypatch.setattr(run_tree, "MAX_WALKED", 6)
    (row,) = list_runs(organization=organization, workflow_id="", after=None, limit=9).rows
    assert (row.is_truncated, row.runs_below, row.total.cost) == (False, 5, 6)


# --- Circles ---------------------------------------------------------------------------------------------------


def test_a_circle_counts_each_run_once_and_is_not_walked_for_ever(
    organization: Organization, owner: User, sign_in: SignIn, send: Send
) -> None:
    send(call("a", "1", "c"), call("b", "2", "a"), call("c", "4", "b"), call("self", "8", "self"))
    for run_id in "abc":
        row = get_run_row(organization=organization, run_id=run_id)
        assert row is not None
        assert row.total.cost == 7
        result = get_run_ancestors(organization=organization, run_id=run_id)
        assert sorted((*result.run_ids, run_id)) == ["a", "b", "c"]
        assert result.has_cycle
    assert get_run_ancestors(organization=organization, run_id="self").run_ids == ()
    browser = sign_in(owner)
    (line,) = browser.get(f"{PAGE}children/c/", headers=HTMX).context["branch"].lines
    assert (line.run_id, line.repeats_ancestor, line.children_url) == ("a", True, "")
    (line,) = browser.get(PAGE, {"run": "self"}).context["lines"]
    assert line.children_url == ""


# --- Branches --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tree")
def test_a_branch_is_rows_of_a_table(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    response = browser.get(f"{PAGE}children/root/", {"depth": "1"}, headers=HTMX)
    branch = response.context["branch"]
    assert [line.run_id for line in branch.lines] == ["left", "right"]
    assert "<html" not in response.content.decode()
    assert response.content.decode().count("<tr") == 2
    assert 'data-depth="1"' in response.content.decode()
    left, right = branch.lines
    assert left.children_url == "/o/acme/admin/runs/children/left/?depth=2"
    assert right.children_url == ""


def test_a_wide_branch_comes_in_pages(owner: User, sign_in: SignIn, send: Send) -> None:
    send(*(call(f"child-{number:03}", "1", "root") for number in range(run_rows.CHILDREN_SHOWN + 1)))
    browser = sign_in(owner)
    first = browser.get(f"{PAGE}children/root/?depth=1", headers=HTMX).context["branch"]
    assert len(first.lines) == run_rows.CHILDREN_SHOWN
    second = browser.get(first.more_url, headers=HTMX).context["branch"]
    assert len(second.lines) == 1
    assert second.more_url == ""
    assert len({line.run_id for line in (*first.lines, *second.lines)}) == run_rows.CHILDREN_SHOWN + 1


@pytest.mark.usefixtures("tree")
def test_without_scripts_a_branch_is_the_runs_own_page(owner: User, sign_in: SignIn) -> None:
    response = sign_in(owner).get(f"{PAGE}children/root/")
    assert (response.status_code, response["Location"]) == (302, "/o/acme/admin/runs/r/root/")


# --- Filters and pages -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tree")
def test_a_run_is_found_by_its_whole_id_wherever_it_stands(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    assert names(browser.get(PAGE, {"run": "leaf"})) == ["leaf"]
    assert names(browser.get(PAGE, {"run": " leaf "})) == ["leaf"]
    assert "No run has this id" in text(browser, PAGE, run="lea")


def test_a_workflow_shows_its_runs_at_any_depth(owner: User, sign_in: SignIn, send: Send) -> None:
    send(call("a", "1", workflow_id="w"))
    send(call("b", "1", "a", workflow_id="w"), call("c", "1", workflow_id="other"))
    browser = sign_in(owner)
    assert names(browser.get(PAGE, {"workflow": "w"})) == ["b", "a"]
    assert "No events with the workflow none" in text(browser, PAGE, workflow="none")


def test_pages_go_on_and_back(owner: User, sign_in: SignIn, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_list_page, "_RUNS_SHOWN", 2)
    for number in range(5):
        send(call(f"run-{number}", "1"))
    browser = sign_in(owner)
    first = browser.get(PAGE)
    assert names(first) == ["run-4", "run-3"]
    second = browser.get(PAGE + first.context["older"])
    assert names(second) == ["run-2", "run-1"]
    third = browser.get(PAGE + second.context["older"])
    assert names(third) == ["run-0"]
    assert third.context["older"] == ""
    assert names(browser.get(PAGE + third.context["trail"].newer())) == ["run-2", "run-1"]
    assert names(browser.get(PAGE + second.context["trail"].newer())) == ["run-4", "run-3"]


@pytest.mark.parametrize(
    "query",
    [
        {"run": "\0"},
        {"workflow": "\0"},
        {"run": "x" * 300},
        {"after": "9" * 40},
        {"after": "x.y.-1"},
        {"after": "\0"},
        {"run": "%", "workflow": "'"},
        {"after": "1"},
    ],
)
def test_an_invalid_query_is_reported_and_no_error(query: dict[str, str], owner: User, sign_in: SignIn) -> None:
    assert sign_in(owner).get(PAGE, query).status_code == 200


@pytest.mark.parametrize("query", ["depth=-1", "depth=999999", "depth=x&after=y", "after=" + "9" * 30])
def test_a_branch_takes_any_parameter(query: str, owner: User, sign_in: SignIn) -> None:
    assert sign_in(owner).get(f"{PAGE}children/none/?{query}", headers=HTMX).status_code == 200


# --- Whose runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "viewer", "operator"])
def test_members_and_operators_see_the_organizations_runs_and_no_others(
    who: str, request: pytest.FixtureRequest, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send(call("ours", "1"))
    send(call("theirs", "2"), call("child", "3", "ours"), to=other_organization)
    browser = sign_in(request.getfixturevalue(who))
    page = browser.get(PAGE)
    assert names(page) == ["ours"]
    assert page.context["lines"][0].subtree.cost == "$1.00"
    assert names(browser.get(PAGE, {"run": "theirs"})) == []
    assert browser.get(f"{PAGE}children/ours/", headers=HTMX).context["branch"].lines == []


def test_strangers_do_not_learn_that_the_organization_is_there(
    organization: Organization, stranger: User, sign_in: SignIn
) -> None:
    assert sign_in(stranger).get(PAGE).status_code == 404


def test_without_runs_the_page_says_how_they_come(owner: User, sign_in: SignIn) -> None:
    assert "No runs yet" in text(sign_in(owner), PAGE)


# --- Quick at any size -----------------------------------------------------------------------------------------


def statements(client: Client, url: str, headers: dict[str, str]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url, headers=headers).status_code == 200
    return [query["sql"] for query in captured]


@pytest.mark.parametrize("url", [PAGE, f"{PAGE}?workflow=w", f"{PAGE}?run=run-0", f"{PAGE}children/run-0/"])
def test_a_page_takes_the_same_few_statements_however_many_runs_there_are(
    url: str, owner: User, sign_in: SignIn, send: Send
) -> None:
    browser = sign_in(owner)
    headers = HTMX if "children" in url else {}
    send(call("run-0", "1", workflow_id="w"), call("below", "1", "run-0"))
    browser.get(url, headers=headers)
    few = statements(browser, url, headers)
    send(
        *(call(f"run-{number}", "1", workflow_id="w") for number in range(40)),
        *(call(f"below-{number}", "1", f"run-{number % 3}") for number in range(40)),
    )
    browser.get(url, headers=headers)  # caches the sums of what is not folded
    many = statements(browser, url, headers)
    assert len(few) == len(many) <= 12
    for statement in many:
        if "billing_run " in statement:
            assert "organization_id = " in statement
