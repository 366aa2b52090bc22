"""Document 000: `POST /system/groups`."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from billing.models import LedgerState
from billing.reports.pricing.run_filter import ModelKey
from billing.reports.pricing.uuids import agent_uuid, group_uuid, model_uuid, user_uuid
from billing.rollups.fold import fold_organization
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")

PATH = "/system/groups"
GPT = ModelKey("openai", "gpt-4o")
OPUS = ModelKey("anthropic", "claude-3-opus")


def call(group: str, cost: str, at: str = "2025-01-15T12:00:00Z", model: Any = GPT, **more: Any) -> dict[str, Any]:
    fields = {"group_id": group, "cost_usd": cost, "occurred_at": at}
    return {"service": model.service, "model": model.model, **fields, **more}


def ask(api: APIClient, **body: Any) -> Any:
    response = api.post(PATH, body)
    assert response.status_code == 200, response.content
    return response.json()


def ids(answer: Any) -> list[str]:
    return [item["group_key"] for item in answer["data"]]


def fold(organization: Organization) -> None:
    fold_organization(organization_id=organization.pk, now=NOW)


@pytest.mark.parametrize("folded", [True, False])
def test_it_answers_like_the_document(api: APIClient, organization: Organization, send: Send, *, folded: bool) -> None:
    first = {"input_tokens": 100, "cache_read_tokens": 20, "cache_creation_tokens": 3, "output_tokens": 10}
    names = {"group_name": "Office hours", "session_id": "s-1", "user_id": "ada"}
    agent = {"agent_id": "agent-1", "agent_name": "Student persona"}
    send(
        call("g-1", "0.01", "2025-01-15T09:00:00Z", **first, **names, **agent),
        call("g-1", "0.0023", "2025-01-16T09:12:30.250Z", OPUS, input_tokens=1, output_tokens=2, **names),
        {"cost_usd": "9", "model": "gpt-4o", "service": "openai"},  # of no group
    )
    if folded:
        fold(organization)

    assert ask(api, page=1, page_size=20, sort_order="desc") == {
        "data": [
            {
                "group_id": str(group_uuid("g-1")),
                "group_key": "g-1",
                "session_id": "s-1",
                "group_name": "Office hours",
                "first_run_at": "2025-01-15T09:00:00Z",
                "last_run_at": "2025-01-16T09:12:30.250000Z",
                "run_count": 2,
                "total_input_tokens": 124,
                "total_output_tokens": 12,
                "total_tokens": 136,
                "total_cost": "0.0123",
                "agent_ids": [str(agent_uuid("agent-1"))],
                "model_ids": [str(model_uuid(OPUS)), str(model_uuid(GPT))],
                "profile_ids": [str(user_uuid("ada"))],
                "agent_names": ["Student persona"],
                "model_names": ["claude-3-opus", "gpt-4o"],
                "profile_names": ["ada"],
            }
        ],
        "total_count": 1,
        "page": 1,
        "page_size": 20,
        "total_pages": 1,
    }


def test_what_was_not_sent_is_null_or_empty(api: APIClient, send: Send) -> None:
    send(
        {"group_id": "g", "kind": "tool_call", "tool": "search", "cost_usd": "1", "occurred_at": "2025-01-15T12:00:00Z"}
    )

    (item,) = ask(api)["data"]

    assert (item["session_id"], item["group_name"]) == (None, None)
    assert (item["run_count"], item["total_cost"], item["total_tokens"]) == (0, "1", 0)
    lists = ("agent_ids", "model_ids", "profile_ids", "agent_names", "model_names", "profile_names")
    assert [item[name] for name in lists] == [[]] * 6


def test_without_groups_it_is_empty(api: APIClient, send: Send) -> None:
    send({"cost_usd": "1", "model": "gpt-4o"})
    assert ask(api) == {"data": [], "total_count": 0, "page": 1, "page_size": 50, "total_pages": 0}
    assert ask(api, search="x") == {"data": [], "total_count": 0, "page": 1, "page_size": 50, "total_pages": 0}


def send_many(send: Send, first: int, last: int) -> None:
    """Groups whose order is another one by every key; some have several runs."""
    events = []
    for number in range(first, last):
        at = NOW - timedelta(minutes=number * 7919 % 600)
        for _ in range(1 + number % 3):
            tokens = {"input_tokens": number * 31 % 17, "output_tokens": number * 13 % 7}
            cost = f"0.{number * 37 % 11:02}"
            events.append(call(f"g-{number:02}", cost, at.isoformat(), **tokens))
    send(*events)


KEYS: dict[str, Callable[[Any], Any]] = {
    "date": lambda item: item["last_run_at"],
    "total_cost": lambda item: Decimal(item["total_cost"]),
    "total_tokens": lambda item: item["total_tokens"],
    "run_count": lambda item: item["run_count"],
}


@pytest.mark.parametrize("state", ["folded", "unfolded", "both"])
def test_pages_are_in_order_and_have_every_group_once(
    api: APIClient, organization: Organization, send: Send, state: str
) -> None:
    send_many(send, 0, 20)
    if state != "unfolded":
        fold(organization)
    # With a tail: known groups get further runs, and there are new ones.
    send_many(send, 15, 33)
    if state == "folded":
        fold(organization)
    send(*(call(f"g-{number:02}", "0.5", group_name=f"The g-{number}") for number in range(33)))
    if state == "folded":
        fold(organization)

    for body in ({}, {"search": "g-"}, {"start_date": "2020-01-01"}):
        for sort_by in KEYS:
            for sort_order in ("asc", "desc"):
                _assert_in_order(api, {**body, "sort_by": sort_by, "sort_order": sort_order})


def _assert_in_order(api: APIClient, body: dict[str, str]) -> None:
    pages = [ask(api, page=page, page_size=7, **body) for page in range(1, 7)]
    items = [item for page in pages for item in page["data"]]
    assert [len(page["data"]) for page in pages] == [7, 7, 7, 7, 5, 0], body
    assert {(page["total_count"], page["total_pages"]) for page in pages} == {(33, 5)}, body
    assert len({item["group_key"] for item in items}) == 33, body
    key, is_descending = KEYS[body["sort_by"]], body["sort_order"] == "desc"
    keys = [key(item) for item in items]
    assert keys == sorted(keys, reverse=is_descending), body
    assert len(set(keys)) > 3, body
    for entry, other in pairwise(items):
        if key(entry) == key(other):
            assert (entry["group_key"] < other["group_key"]) == is_descending, body


def test_the_first_page_is_one_and_zero_is_one(api: APIClient, send: Send) -> None:
    send(*(call(f"g-{number}", "1") for number in range(3)))

    assert ask(api, page=0, page_size=2) == ask(api, page=1, page_size=2)
    assert ask(api, page=0, page_size=2)["page"] == 1
    assert ids(ask(api, page=2, page_size=2)) == ["g-2"]
    assert ids(ask(api, page=1_000_000_000, page_size=500)) == []


def test_a_group_counts_once_whether_it_is_folded_or_not(
    api: APIClient, organization: Organization, send: Send
) -> None:
    send(call("old", "1"), call("both", "2"))
    fold(organization)
    send(call("both", "4"), call("new", "8"))

    answer = ask(api, sort_by="total_cost")

    assert answer["total_count"] == 3
    assert [(item["group_key"], item["total_cost"], item["run_count"]) for item in answer["data"]] == [
        ("new", "8", 1),
        ("both", "6", 2),
        ("old", "1", 1),
    ]
    assert ids(ask(api, sort_by="total_cost", page=2, page_size=1)) == ["both"]


def test_a_group_that_lost_its_old_events_is_still_one(api: APIClient, organization: Organization, send: Send) -> None:
    """Retention moves what dropped events added up to into a row of its own, beside the group's later one."""
    from billing.models import DroppedMonth, GenerationGroup
    from billing.models.rollups import GroupDay

    send(call("a", "5", "2025-01-01T00:00:00Z"), call("b", "6", "2025-01-02T00:00:00Z"))
    fold(organization)
    GenerationGroup.objects.of(organization).update(archived=True)
    GroupDay.objects.of(organization).update(archived=True)
    DroppedMonth.objects.create(organization=organization, month="2025-01-01", events=2, unpriced=0, dropped_at=NOW)
    send(call("a", "2", "2025-02-01T00:00:00Z"), call("c", "4", "2025-01-15T00:00:00Z"))

    for _ in range(2):
        by_date = ask(api)
        assert [(item["group_key"], item["total_cost"]) for item in by_date["data"]] == [
            ("a", "7"),
            ("c", "4"),
            ("b", "6"),
        ]
        assert ids(ask(api, sort_order="asc")) == ["b", "c", "a"]
        assert ids(ask(api, sort_by="total_cost")) == ["a", "b", "c"]
        assert ids(ask(api, sort_by="run_count")) == ["a", "b", "c"]
        assert by_date["total_count"] == ask(api, sort_by="total_cost")["total_count"] == 3
        fold(organization)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ({"start_date": "2025-01-02", "end_date": "2025-01-02"}, {"a": "6", "b": "16"}),
        ({"start_date": "2025-01-02T12:00:00Z"}, {"a": "12", "b": "16"}),
        ({"end_date": "2025-01-02T12:00:00Z"}, {"a": "3"}),
        ({"date_from": "2025-01-02T00:00:00.000001Z", "date_to": "2025-01-02T23:59:58.999999Z"}, {"a": "4"}),
        ({"start_date": "2025-01-04"}, {}),
    ],
)
@pytest.mark.parametrize("folded", [True, False])
def test_a_window_restricts_groups_and_what_they_add_up_to(
    api: APIClient,
    organization: Organization,
    send: Send,
    body: dict[str, Any],
    result: dict[str, str],
    *,
    folded: bool,
) -> None:
    send(
        call("a", "1", "2025-01-01T23:59:59.999999Z"),
        call("a", "2", "2025-01-02T00:00:00Z"),
        call("a", "4", "2025-01-02T12:00:00Z"),
        call("a", "8", "2025-01-03T00:00:00Z"),
        call("b", "16", "2025-01-02T23:59:59.999999Z"),
    )
    if folded:
        fold(organization)

    answer = ask(api, **body)

    assert {item["group_key"]: item["total_cost"] for item in answer["data"]} == result
    assert answer["total_count"] == len(result)


def test_the_span_of_a_group_is_that_of_its_runs_in_the_window(api: APIClient, send: Send) -> None:
    times = ("2025-01-01T09:00:00Z", "2025-01-02T09:00:00Z", "2025-01-02T10:00:00Z", "2025-01-03T09:00:00Z")
    send(*(call("a", "1", at) for at in times))

    (item,) = ask(api, start_date="2025-01-02", end_date="2025-01-02")["data"]

    assert (item["first_run_at"], item["last_run_at"]) == times[1:3]


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ({"model_ids": [str(model_uuid(GPT))]}, {"a": "1", "b": "4"}),
        ({"model_id": str(model_uuid(OPUS))}, {"a": "2"}),
        ({"model_ids": [str(model_uuid(GPT)), str(model_uuid(OPUS))]}, {"a": "3", "b": "4"}),
        ({"model_ids": [str(UUID(int=1))]}, {}),
        ({"agent_ids": [str(agent_uuid("two"))]}, {"b": "12"}),
        ({"agent_ids": [str(agent_uuid("two"))], "model_ids": [str(model_uuid(GPT))]}, {"b": "4"}),
        ({"profile_ids": [str(user_uuid("ada"))]}, {"a": "1"}),
        ({"profile_ids": [str(user_uuid("nobody"))]}, {}),
        ({"search": "first"}, {"a": "3"}),
        ({"search": "GROUP"}, {"a": "3", "b": "12"}),
        ({"search": "%"}, {"b": "12"}),
        ({"search": "_"}, {}),
        ({"search": "  "}, {"a": "3", "b": "12"}),
        ({"search": "first", "model_id": str(model_uuid(OPUS))}, {"a": "2"}),
        ({"search": "second", "model_id": str(model_uuid(OPUS))}, {}),
    ],
)
@pytest.mark.parametrize("folded", [True, False])
def test_filters_pick_runs_and_change_the_count(
    api: APIClient,
    organization: Organization,
    send: Send,
    body: dict[str, Any],
    result: dict[str, str],
    *,
    folded: bool,
) -> None:
    other: dict[str, Any] = {"agent_id": "two", "group_name": "100% second Group"}
    send(
        call("a", "1", agent_id="one", user_id="ada", group_name="First group"),
        call("a", "2", model=OPUS, agent_id="one", user_id="bob", group_name="First group"),
        call("b", "4", **other),
        {
            "group_id": "b",
            "kind": "tool_call",
            "tool": "x",
            "cost_usd": "8",
            "occurred_at": "2025-01-15T12:00:00Z",
            **other,
        },
    )
    if folded:
        fold(organization)

    answer = ask(api, **body)

    assert {item["group_key"]: item["total_cost"] for item in answer["data"]} == result
    assert answer["total_count"] == len(result)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"page": -1}, "page"),
        ({"page": 10**20}, "page"),
        ({"page": "two"}, "page"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": 501}, "page_size"),
        ({"sort_by": "name"}, "sort_by"),
        ({"sort_order": "down"}, "sort_order"),
        ({"search": "a\0b"}, "search"),
        ({"search": "x" * 256}, "search"),
        ({"model_ids": [["x"]]}, "model_ids"),
        ({"profile_ids": ["ada"]}, "profile_ids"),
        ({"start_date": "2025-01-02", "end_date": "2025-01-01"}, "end_date"),
        ({"pagesize": 5}, "pagesize"),
    ],
)
def test_a_wrong_field_is_named(api: APIClient, body: dict[str, Any], field: str) -> None:
    response = api.post(PATH, body)

    assert response.status_code == 422, response.content
    assert [error["loc"][:2] for error in response.json()["detail"]] == [["body", field]]


def test_organizations_do_not_meet(
    api: APIClient, other_api: APIClient, organization: Organization, other_organization: Organization, send: Send
) -> None:
    send(call("same", "1", id="same"))
    theirs = {"group_name": "Theirs", "agent_id": "their-agent", "user_id": "their-user"}
    send(call("same", "2", id="same", **theirs), call("other", "4", model=OPUS), to=other_organization)

    for _ in range(2):
        (item,) = ask(api)["data"]
        assert (item["total_cost"], item["group_name"], item["agent_ids"], item["profile_ids"]) == ("1", None, [], [])
        assert ask(api)["total_count"] == 1
        assert ask(other_api)["total_count"] == 2
        assert ask(api, model_ids=[str(model_uuid(OPUS))])["data"] == []
        assert ask(api, profile_ids=[str(user_uuid("their-user"))])["data"] == []
        fold(organization)
        fold(other_organization)


def test_who_may_read(organization: Organization, owner: User, viewer: User, stranger: User, send: Send) -> None:
    send(call("g", "1"))
    assert APIClient().post(PATH, {}).status_code == 401
    assert make_key(organization, Scope.USAGE_WRITE).client().post(PATH, {}).status_code == 403
    for user, count in ((owner, 1), (viewer, 1), (stranger, 0)):
        client = Client()
        client.force_login(user)
        assert client.post(PATH, {}, content_type="application/json").json()["total_count"] == count


def test_a_plan_without_api_is_refused(api: APIClient, organization: Organization) -> None:
    organization.plan_id = "free"
    organization.save(update_fields=["plan"])
    assert api.post(PATH, {}).status_code == 403


def test_the_number_of_queries_is_fixed(
    api: APIClient, organization: Organization, send: Send, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    send_many(send, 0, 30)
    fold(organization)
    for _ in range(2):
        api.post(PATH, {})

    # The credential's version; the tenant scope, in a savepoint here: begin, enter, leave, end; the ledger's state;
    # the page; its groups.
    with django_assert_num_queries(1 + 4 + 1 + 2):
        ask(api, page_size=29)
    send(call("new", "1"))
    # The page again, with the sums of unfolded events, and those for its groups.
    with django_assert_num_queries(1 + 4 + 1 + 2 + 3):
        ask(api, page_size=28)
    # The sums are cached, and the report begins with them.
    with django_assert_num_queries(1 + 4 + 1 + 2):
        ask(api, page_size=27)
    # The order by cost asks whether anything was dropped.
    with django_assert_num_queries(1 + 4 + 1 + 3):
        ask(api, page_size=27, sort_by="total_cost")
    # A kept answer needs the ledger's state alone.
    with django_assert_num_queries(1 + 4 + 1):
        ask(api, page_size=27, sort_by="total_cost")


def test_the_count_of_all_groups_is_not_counted(api: APIClient, organization: Organization, send: Send) -> None:
    send(call("g", "1"))
    fold(organization)
    LedgerState.objects.filter(organization=organization).update(groups=50_000)

    assert ask(api)["total_count"] == 50_000
    assert ask(api, search="")["total_count"] == 50_000
    assert ask(api, start_date="2020-01-01")["total_count"] == 1
