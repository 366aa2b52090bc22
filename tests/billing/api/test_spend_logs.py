"""Document 004: `GET /spend/logs`."""

import hashlib
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from billing.ledger.corrections import adjust, void
from billing.models import UsageEvent
from billing.reports.spend.keys import key_hash
from organizations.models import Organization, User
from organizations.types import Scope
from tests.billing.api.spend_requests import BAD_DATES, MONTH, call, refused
from tests.billing.ingest.litellm_payloads import payload
from tests.conftest import Key, make_key
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")

TEXT, ALL_CALLS, AMOUNT = str, int, float
MAYBE_TEXT = (str, type(None))
MAYBE_WHOLE = (int, type(None))

# LiteLLM's spend log, field by field, without the request that its proxy received.
LOG_FIELDS: dict[str, Any] = {
    "request_id": TEXT,
    "call_type": TEXT,
    "api_key": TEXT,
    "spend": AMOUNT,
    "total_tokens": ALL_CALLS,
    "prompt_tokens": ALL_CALLS,
    "completion_tokens": ALL_CALLS,
    "startTime": TEXT,
    "endTime": TEXT,
    "request_duration_ms": MAYBE_WHOLE,
    "completionStartTime": MAYBE_TEXT,
    "model": TEXT,
    "model_id": TEXT,
    "model_group": TEXT,
    "custom_llm_provider": TEXT,
    "api_base": TEXT,
    "user": TEXT,
    "metadata": dict,
    "cache_hit": TEXT,
    "cache_key": TEXT,
    "request_tags": list,
    "team_id": MAYBE_TEXT,
    "organization_id": MAYBE_TEXT,
    "end_user": MAYBE_TEXT,
    "requester_ip_address": MAYBE_TEXT,
    "messages": dict,
    "response": dict,
    "session_id": MAYBE_TEXT,
    "status": TEXT,
    "mcp_namespaced_tool_name": MAYBE_TEXT,
    "agent_id": MAYBE_TEXT,
    "created_at": TEXT,
    "updated_at": TEXT,
}


def ids(api: APIClient, query: str) -> list[str]:
    response = api.get(f"/spend/logs?{query}")
    assert response.status_code == 200, response.content
    return [row["request_id"] for row in response.json()]


# --- Single calls ----------------------------------------------------------------------------------------------


def test_a_row_has_exactly_litellms_fields_with_its_types(api: APIClient, key: Key, send: Send) -> None:
    event = call(
        "02T09:00",
        "0.000123",
        id="event-1",
        request_id="chatcmpl-1",
        capability="chat",
        input_tokens=10,
        cache_read_tokens=4,
        cache_creation_tokens=2,
        output_tokens=20,
        duration_ms=1500.4,
        user_id="ada",
        end_user="customer-1",
        tags=["project:search", "team:red"],
        session_id="session-1",
        agent_id="agent-1",
        metadata={"ticket": 7},
    )
    assert api.post("/usage/events", [event], format="json").status_code == 200

    (row,) = api.get("/spend/logs").json()

    assert set(row) == set(LOG_FIELDS)
    for name, kind in LOG_FIELDS.items():
        assert isinstance(row[name], kind), name
    fields = {
        "request_id": "chatcmpl-1",
        "call_type": "completion",
        "api_key": hashlib.sha256(key.credential.client_id.encode()).hexdigest(),
        "spend": 0.000123,
        "prompt_tokens": 16,
        "completion_tokens": 20,
        "total_tokens": 36,
        "startTime": "2026-10-02T09:00:00Z",
        "endTime": "2026-10-02T09:00:01.500400Z",
        "request_duration_ms": 1500,
        "model": "gpt-4o",
        "model_group": "gpt-4o",
        "custom_llm_provider": "openai",
        "user": "ada",
        "end_user": "customer-1",
        "request_tags": ["project:search", "team:red"],
        "team_id": "red",
        "organization_id": "acme",
        "session_id": "session-1",
        "agent_id": "agent-1",
        "status": "success",
        "cache_hit": "False",
        "messages": {},
        "response": {},
    }
    assert {name: row[name] for name in fields} == fields
    assert row["metadata"]["spend_logs_metadata"] == {"ticket": 7}
    assert row["metadata"]["user_api_key_alias"] == "test"
    assert row["metadata"]["additional_usage_values"] == {
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 2,
    }


def test_what_litellm_reported_comes_back_in_its_words(api: APIClient) -> None:
    sent = payload(id="chatcmpl-9", cache_hit=True, model_group="my-alias", model_id="deployment-1")
    assert api.post("/integrations/litellm", [sent], format="json").status_code == 200

    (row,) = api.get("/spend/logs?request_id=chatcmpl-9").json()

    assert row["request_id"] == "chatcmpl-9"
    assert row["call_type"] == sent["call_type"]
    assert row["cache_hit"] == "True"
    assert (row["model_group"], row["model_id"], row["session_id"]) == ("my-alias", "deployment-1", "s-3")
    assert row["startTime"] < row["endTime"]
    assert row["total_tokens"] == sent["prompt_tokens"] + sent["completion_tokens"]


def test_attempts_at_one_request_have_ids_of_their_own(api: APIClient) -> None:
    tries = [payload(id="same", status=status) for status in ("failure", "success")]
    assert api.post("/integrations/litellm", tries, format="json").json()["accepted"] == 2

    result = ids(api, "")

    assert len(set(result)) == 2
    assert all(item.startswith("same") for item in result)
    for item in result:
        assert ids(api, f"request_id={item}") == [item]


def test_metadata_that_a_caller_made_up_spoils_nothing(api: APIClient, send: Send) -> None:
    send(call("02T09:00", "1", metadata={"litellm": {"call_type": 5, "team_id": ["x"], "cache_hit": "yes"}}))
    send(call("02T10:00", "1", metadata={"litellm": "nothing"}))

    rows = api.get("/spend/logs").json()

    assert [(row["call_type"], row["team_id"], row["cache_hit"]) for row in rows] == [("completion", None, "False")] * 2


def test_events_with_and_without_metadata_are_rows(organization: Organization) -> None:
    api = make_key(organization, *Scope).client()
    events = [{"kind": "compute", "cost_usd": "1"}, {"model": "unheard-of", "metadata": {"b": [1]}}, {"model": "m"}]
    assert api.post("/usage/events", events, format="json").json()["accepted"] == 3
    rows = api.get("/spend/logs").json()
    assert sorted(str(row["metadata"]["spend_logs_metadata"]) for row in rows) == ["None", "None", "{'b': [1]}"]


def test_other_kinds_than_model_calls_are_rows_and_adjustments_are_not(
    api: APIClient, organization: Organization, send: Send
) -> None:
    send(
        call("02T09:00", "1", id="model", session_id="s"),
        {"id": "tool", "kind": "tool_call", "tool": "search", "cost_usd": "2", "occurred_at": "2026-10-02T10:00:00Z"},
        {"id": "machine", "kind": "compute", "cost_usd": "4", "occurred_at": "2026-10-02T11:00:00Z"},
    )
    end = {"session_id": "s", "cost_usd": "9", "occurred_at": "2026-10-02T12:00:00Z"}
    send({"id": "summary", "kind": "session_summary", **end})
    event = UsageEvent.objects.of(organization).get(event_id="tool")
    void(organization=organization, event_id=event.pk, reason="A test.", actor="tests", now=NOW)

    rows = api.get("/spend/logs").json()

    assert [(row["request_id"], row["call_type"], row["spend"]) for row in rows] == [
        ("summary", "session_summary", 8.0),
        ("machine", "compute", 4.0),
        ("tool", "call_mcp_tool", 0.0),
        ("model", "completion", 1.0),
    ]
    assert rows[2]["mcp_namespaced_tool_name"] == "search"


def test_spend_and_tokens_are_those_of_now(api: APIClient, organization: Organization, send: Send) -> None:
    send(
        call("02T09:00", "1", id="voided", input_tokens=7, output_tokens=3),
        call("02T09:00", "2", id="adjusted", input_tokens=5),
        call("02T09:00", "4", id="as it was", input_tokens=1),
    )
    by_id = {event.event_id: event.pk for event in UsageEvent.objects.of(organization)}
    fields: dict[str, Any] = {"organization": organization, "reason": "A test.", "actor": "tests", "now": NOW}
    void(event_id=by_id["voided"], **fields)
    adjust(event_id=by_id["adjusted"], cost_usd=Decimal("0.5"), **fields)

    rows = {row["request_id"]: (row["spend"], row["total_tokens"]) for row in api.get("/spend/logs").json()}

    assert rows == {"voided": (0.0, 0), "adjusted": (0.5, 5), "as it was": (4.0, 1)}


def test_a_cost_that_is_not_known_is_said(api: APIClient, send: Send) -> None:
    send({"model": "unheard-of", "input_tokens": 5}, call("02T09:00", "1"))

    response = api.get("/spend/logs")

    assert response["X-Costtrack-Unpriced-Events"] == "1"
    unknown = next(row for row in response.json() if row["model"] == "unheard-of")
    assert unknown["spend"] == 0.0
    assert unknown["metadata"]["costtrack"]["unpriced_reason"] == "no_price"


def test_rows_come_newest_first_and_filters_all_hold(api: APIClient, send: Send) -> None:
    send(
        call("02T09:00", "1", id="a", user_id="ada"),
        call("04T09:00", "1", id="b", user_id="ada"),
        call("03T09:00", "1", id="c", user_id="grace"),
        call("31T23:59", "1", id="d", user_id="ada"),
    )

    assert ids(api, "") == ["d", "b", "c", "a"]
    assert ids(api, "summarize=false") == ["d", "b", "c", "a"]
    assert ids(api, "user_id=ada") == ["d", "b", "a"]
    assert ids(api, "user_id=ada&start_date=2026-10-02&end_date=2026-10-04&summarize=false") == ["b", "a"]
    assert ids(api, "user_id=ada&request_id=c") == []
    assert ids(api, "user_id=grace&request_id=c") == ["c"]
    assert ids(api, "user_id=nobody") == ids(api, "request_id=nothing") == ids(api, "api_key=nobodys") == []


def test_one_date_alone_bounds_its_side(api: APIClient, send: Send) -> None:
    send(*(call(f"0{day}T09:00", "1", id=str(day)) for day in (1, 2, 3)))

    assert ids(api, "start_date=2026-10-02") == ["3", "2"]
    assert ids(api, "end_date=2026-10-02") == ["2", "1"]
    assert ids(api, "end_date=2026-10-02&user_id=&start_date=") == ["2", "1"]


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ("start_date=2026-10-02&end_date=2026-10-02", ["last", "noon", "first"]),
        ("start_date=2026-10-02T12:00:00Z&end_date=2026-10-02", ["last", "noon"]),
        ("start_date=2026-10-02T12:00:00.000001Z&end_date=2026-10-02", ["last"]),
        ("start_date=2026-10-02&end_date=2026-10-02T12:00:00Z", ["first"]),
        ("start_date=2026-10-02&end_date=2026-10-02T14:00:00.000001%2B02:00", ["noon", "first"]),
        ("start_date=2026-10-02&end_date=2026-10-02 23:59:59", ["last", "noon", "first"]),
        ("start_date=2026-10-03&end_date=2026-10-03", ["after"]),
    ],
)
def test_the_last_day_is_in_the_window(api: APIClient, send: Send, query: str, result: list[str]) -> None:
    send(
        {**call("01T00:00", "1", id="before"), "occurred_at": "2026-10-01T23:59:59.999999Z"},
        call("02T00:00", "1", id="first"),
        call("02T12:00", "1", id="noon"),
        {**call("02T00:00", "1", id="last"), "occurred_at": "2026-10-02T23:59:59.999999Z"},
        call("03T00:00", "1", id="after"),
    )

    assert ids(api, f"{query}&summarize=false") == result
    assert sum(day["spend"] for day in api.get(f"/spend/logs?{query}").json()) == len(result)


def test_a_key_may_be_named_in_four_ways(api: APIClient, organization: Organization, other_key: Key, key: Key) -> None:
    second = make_key(organization, Scope.USAGE_WRITE, name="second")
    for number, sender in enumerate((key, second)):
        event = call("02T09:00", str(number + 1), id=f"by-{number}")
        assert sender.client().post("/usage/events", [event], format="json").status_code == 200

    client_id = second.credential.client_id
    digest = sha256(second.api_key.encode()).hexdigest()
    for name in (client_id, key_hash(client_id), second.api_key, digest):
        assert ids(api, f"api_key={name}") == ["by-1"]
        assert ids(api, f"api_key={name}&{MONTH}&summarize=false") == ["by-1"]
        days = api.get(f"/spend/logs?api_key={name}&{MONTH}").json()
        assert {day["spend"] for day in days} == {0.0, 2.0}
        assert days[1] == {
            "startTime": "2026-10-02",
            "spend": 2.0,
            "users": {"": 2.0},
            "models": {"gpt-4o": 2.0},
            key_hash(client_id): 2.0,
        }
    for stranger in (other_key.api_key, key_hash(other_key.credential.client_id), "sk-1234", "ü", "x" * 900):
        assert api.get("/spend/logs", {"api_key": stranger}).json() == []
        window = {"start_date": "2026-10-01", "end_date": "2026-10-31"}
        assert api.get("/spend/logs", {"api_key": stranger, **window}).json() == []


def test_a_request_is_found_by_any_of_its_ids(api: APIClient, organization: Organization, send: Send) -> None:
    send(
        call("02T09:00", "1", id="event-1", request_id="chatcmpl-1"),
        call("03T09:00", "2", request_id="chatcmpl-2"),
        call("04T09:00", "4"),
        call("05T09:00", "8", id="elsewhere", source="gateway"),
    )
    anonymous = str(UsageEvent.objects.of(organization).get(event_id="", request_id="").pk)

    for requested_id, shown in (
        ("event-1", "chatcmpl-1"),
        ("chatcmpl-1", "chatcmpl-1"),
        ("chatcmpl-2", "chatcmpl-2"),
        (anonymous, anonymous),
        ("elsewhere", "elsewhere"),
    ):
        assert ids(api, f"request_id={requested_id}") == [shown]
        assert ids(api, f"request_id={requested_id}&{MONTH}&summarize=false") == [shown]
        assert ids(api, f"request_id={requested_id}&start_date=2026-11-01") == []


def test_an_adjustment_is_no_request(api: APIClient, organization: Organization, send: Send) -> None:
    send(call("02T09:00", "1", request_id="chatcmpl-1"))
    event = UsageEvent.objects.of(organization).get()
    void(organization=organization, event_id=event.pk, reason="A test.", actor="tests", now=NOW)
    adjustment = UsageEvent.objects.of(organization).get(kind="adjustment")

    assert ids(api, f"request_id={adjustment.pk}") == []
    assert ids(api, "request_id=chatcmpl-1") == ["chatcmpl-1"]


def test_more_rows_than_an_answer_holds_are_said(api: APIClient, send: Send) -> None:
    item = {"cost_usd": "0.5", "occurred_at": "2026-10-02T09:00:00Z"}
    send(*(item for _ in range(10_000)))
    whole = api.get("/spend/logs")
    assert len(whole.json()) == 10_000
    assert "X-Costtrack-Truncated" not in whole
    send({**item, "id": "oldest", "occurred_at": "2026-10-01T09:00:00Z"})

    for url in ("/spend/logs", f"/spend/logs?{MONTH}&summarize=false"):
        response = api.get(url)
        assert len(response.json()) == 10_000
        assert "oldest" not in {row["request_id"] for row in response.json()}
        assert response["X-Costtrack-Truncated"] == "true"
        assert response["Link"] == '</spend/logs/v2>; rel="alternate"'


# --- Days ------------------------------------------------------------------------------------------------------


def test_both_dates_answer_days_like_litellm(api: APIClient, key: Key) -> None:
    events = [
        call("02T09:00", "0.35", user_id="ada"),
        call("02T10:00", "0.1", user_id="grace", model="gpt-4o-mini"),
        call("04T09:00", "1"),
    ]
    assert api.post("/usage/events", events, format="json").status_code == 200
    hashed = key_hash(key.credential.client_id)

    assert api.get("/spend/logs?start_date=2026-10-01&end_date=2026-10-05").json() == [
        {"startTime": "2026-10-01", "spend": 0.0, "users": {}, "models": {}},
        {
            "startTime": "2026-10-02",
            "spend": 0.45,
            "users": {"ada": 0.35, "grace": 0.1},
            "models": {"gpt-4o": 0.35, "gpt-4o-mini": 0.1},
            hashed: 0.45,
        },
        {"startTime": "2026-10-03", "spend": 0.0, "users": {}, "models": {}},
        {"startTime": "2026-10-04", "spend": 1.0, "users": {"": 1.0}, "models": {"gpt-4o": 1.0}, hashed: 1.0},
        {"startTime": "2026-10-05", "spend": 0.0, "users": {}, "models": {}},
    ]


def test_days_can_be_of_one_user_or_one_request(api: APIClient, send: Send) -> None:
    send(call("02T09:00", "1", id="a", user_id="ada"), call("02T10:00", "2", id="b", user_id="grace"))

    window = "start_date=2026-10-02&end_date=2026-10-02"
    of_ada = [{"startTime": "2026-10-02", "spend": 1.0, "users": {"ada": 1.0}, "models": {"gpt-4o": 1.0}}]
    assert api.get(f"/spend/logs?{window}&user_id=ada").json() == of_ada
    assert api.get(f"/spend/logs?{window}&request_id=a").json() == of_ada
    assert api.get(f"/spend/logs?{window}&user_id=ada&request_id=b").json() == []


def test_a_window_without_any_data_has_no_days(api: APIClient, send: Send) -> None:
    send(call("02T09:00", "1"))

    assert api.get("/spend/logs?start_date=2026-09-01&end_date=2026-09-30").json() == []


def test_a_window_may_have_ten_years(api: APIClient, send: Send) -> None:
    send(call("02T09:00", "1"))

    assert len(api.get("/spend/logs?start_date=2017-01-01&end_date=2026-12-31").json()) == 3652
    assert refused(api, "/spend/logs?start_date=2000-01-01&end_date=2026-12-31") == (400, "bad_request", "end_date")


# --- Mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "param"), BAD_DATES)
def test_bad_dates_are_a_400_that_names_them(api: APIClient, query: str, param: str) -> None:
    assert refused(api, f"/spend/logs?{query}") == (400, "bad_request", param)
    assert refused(api, f"/spend/logs?{query}&summarize=false") == (400, "bad_request", param)


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("summarize=perhaps", 422, "summarize"),
        ("user_id=a%00b", 422, "user_id"),
        ("request_id=a%00b", 422, "request_id"),
        ("api_key=a%00b", 422, "api_key"),
        ("user_id=" + "x" * 1001, 422, "user_id"),
    ],
)
def test_bad_parameters_are_named(api: APIClient, query: str, status: int, param: str) -> None:
    assert refused(api, f"/spend/logs?{query}") == (status, "bad_request", param)


# --- Who -------------------------------------------------------------------------------------------------------


def test_who_may_read(organization: Organization, owner: User, viewer: User, stranger: User, send: Send) -> None:
    send(call("02T09:00", "1"))
    assert refused(APIClient(), "/spend/logs") == (401, "auth_error", None)
    writer = make_key(organization, Scope.USAGE_WRITE).client()
    assert refused(writer, "/spend/logs") == (403, "permission_denied", None)
    for user in (owner, viewer):
        client = Client()
        client.force_login(user)
        assert [row["spend"] for row in client.get("/spend/logs?organization=acme").json()] == [1.0]
    foreign = Client()
    foreign.force_login(stranger)
    assert foreign.get("/spend/logs").json() == []
    assert foreign.get("/spend/logs?organization=acme").status_code == 404


def test_the_key_may_come_in_alphaneurals_header(key: Key, send: Send) -> None:
    send(call("02T09:00", "1"))

    client = APIClient()
    client.credentials(HTTP_X_ALPHANEURAL_API_KEY=key.api_key)
    assert len(client.get("/spend/logs").json()) == 1


def test_a_plan_without_api_says_what_would_allow_it(api: APIClient, organization: Organization) -> None:
    organization.plan_id = "free"
    organization.save(update_fields=["plan"])

    assert refused(api, "/spend/logs") == (403, "permission_denied", None)
    assert "Pay as you go" in api.get("/spend/logs").json()["error"]["message"]


def test_rows_of_another_organization_are_unknown(
    api: APIClient, other_organization: Organization, other_api: APIClient, send: Send
) -> None:
    send(call("02T09:00", "1", id="ours", user_id="ada"))
    send(call("02T09:00", "2", id="theirs", user_id="ada"), to=other_organization)
    theirs = UsageEvent.objects.of(other_organization).get()

    assert ids(api, "user_id=ada") == ["ours"]
    assert ids(api, "request_id=theirs") == ids(api, f"request_id={theirs.pk}") == []
    assert [day["spend"] for day in api.get("/spend/logs?start_date=2026-10-02&end_date=2026-10-02").json()] == [1.0]
    assert ids(other_api, "user_id=ada") == ["theirs"]


def test_the_number_of_queries_is_fixed(
    api: APIClient, send: Send, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    send(*(call("02T09:00", "1", user_id=f"user-{number}") for number in range(100)))
    for _ in range(2):
        api.get("/spend/logs")
    # The credential's version, and the tenant scope: begin, enter, leave, end.
    always = 1 + 4
    with django_assert_num_queries(always + 1):
        api.get("/spend/logs")
    api.get(f"/spend/logs?{MONTH}")
    # The rollups' tables with the sums of unfolded events, which are cached.
    with django_assert_num_queries(always + 1):
        api.get(f"/spend/logs?{MONTH}")


def test_times_are_iso_8601(api: APIClient, send: Send) -> None:
    send({**call("02T09:00", "1"), "occurred_at": "2026-10-02T09:00:00.123456+02:00"})

    (row,) = api.get("/spend/logs").json()

    assert row["startTime"] == "2026-10-02T07:00:00.123456Z"
    for name in ("startTime", "endTime", "created_at", "updated_at"):
        assert datetime.fromisoformat(row[name]).tzinfo is not None
