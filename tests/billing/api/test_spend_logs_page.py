"""Document 004: `GET /spend/logs/v2`, LiteLLM's paged spend logs, and the same as `/spend/logs/ui`."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from billing.ledger.corrections import adjust, void
from billing.models import UsageEvent
from billing.reports.spend.keys import key_hash
from billing.rollups.fold import fold
from organizations.models import Organization, User
from organizations.types import Scope
from tests.billing.api.spend_requests import BAD_DATES, MONTH, call, refused
from tests.billing.ingest.litellm_payloads import payload
from tests.conftest import make_key
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")

PAGED = f"/spend/logs/v2?{MONTH}"


def ids(api: APIClient, query: str = "", window: str = MONTH) -> list[str]:
    response = api.get(f"/spend/logs/v2?{window}&{query}")
    assert response.status_code == 200, response.content
    return [row["request_id"] for row in response.json()["data"]]


@pytest.fixture(params=["folded", "not folded"])
def fold_or_not(request: pytest.FixtureRequest) -> Any:
    """What to do after sending."""
    return (lambda: fold(now=NOW)) if request.param == "folded" else (lambda: None)


@pytest.mark.parametrize("route", ["/spend/logs/v2", "/spend/logs/ui"])
def test_pages_have_litellms_shape(api: APIClient, send: Send, route: str) -> None:
    send(*(call(f"02T09:{minute:02}", "1", id=str(minute)) for minute in range(7)))
    window = "start_date=2026-10-02 00:00:00&end_date=2026-10-02 23:59:59"

    body = api.get(f"{route}?{window}&page=2&page_size=3").json()

    assert [row["request_id"] for row in body.pop("data")] == ["3", "2", "1"]
    assert body == {"total": 7, "page": 2, "page_size": 3, "total_pages": 3}
    assert api.get(f"{route}?{window}&page=4&page_size=3").json()["data"] == []
    first = api.get(f"{route}?{window}").json()
    assert (first["page"], first["page_size"], len(first["data"])) == (1, 50, 7)


def test_a_row_is_the_one_of_the_plain_route(api: APIClient, send: Send) -> None:
    send(call("02T09:00", "1", id="a", tags=["x"]))

    assert api.get(PAGED).json()["data"] == api.get("/spend/logs").json()


def test_an_end_is_excluded_unless_it_is_the_last_second_of_a_day(api: APIClient, send: Send) -> None:
    send(
        {**call("02T00:00", "1", id="in"), "occurred_at": "2026-10-02T11:59:59.999999Z"},
        call("02T12:00", "1", id="after"),
        {**call("02T00:00", "1", id="late"), "occurred_at": "2026-10-02T23:59:59.999999Z"},
    )

    assert ids(api, window="start_date=2026-10-02 00:00:00&end_date=2026-10-02 12:00:00") == ["in"]
    assert ids(api, window="start_date=2026-10-02T00:00:00Z&end_date=2026-10-02T11:59:59Z") == []
    assert ids(api, window="start_date=2026-10-02&end_date=2026-10-02") == ["late", "after", "in"]
    assert ids(api, window="start_date=2026-10-02 12:00:00&end_date=2026-10-02 23:59:59") == ["late", "after"]


FILTERED: tuple[tuple[str, list[str]], ...] = (
    ("user_id=ada", ["d", "c", "a"]),
    ("user_id=ada&model=gpt-4o", ["d", "a"]),
    ("model=mini", ["c", "b"]),
    ("model=mini&status_filter=failure", ["b"]),
    ("status_filter=success", ["d", "c", "a"]),
    ("user_id=grace&status_filter=failure", ["b"]),
    ("user_id=ada&status_filter=failure", []),
    ("end_user=customer", ["c", "a"]),
    ("end_user=customer&model=mini", ["c"]),
    ("end_user=customer&user_id=ada", ["c", "a"]),
    ("end_user=unknown", []),
    ("team_id=red", ["b", "a"]),
    ("error_code=429", ["b"]),
    ("min_spend=2", ["d", "c", "b"]),
    ("max_spend=2", ["b", "a"]),
    ("min_spend=2&max_spend=4", ["c", "b"]),
    ("min_spend=2&user_id=ada", ["d", "c"]),
    ("request_id=b", ["b"]),
    ("request_id=b&user_id=ada", []),
    ("request_id=b&min_spend=3", []),
    ("request_id=b&error_code=429&team_id=red", ["b"]),
    ("sort_order=asc", ["a", "b", "c", "d"]),
    ("sort_order=asc&user_id=ada&page_size=2", ["a", "c"]),
    ("sort_by=spend", ["d", "c", "b", "a"]),
    ("sort_by=spend&sort_order=asc&page_size=2&page=2", ["c", "d"]),
    ("sort_by=total_tokens", ["a", "d", "c", "b"]),
    ("sort_by=endTime", ["b", "d", "c", "a"]),
    ("user_id=&model=&min_spend=", ["d", "c", "b", "a"]),
)


def test_filters_and_orders(api: APIClient, send: Send, fold_or_not: Any) -> None:
    send(
        call("02T09:00", "1", id="a", user_id="ada", end_user="customer", tags=["team:red"], input_tokens=9),
        call("03T09:00", "2", id="b", user_id="grace", model="mini", tags=["team:red"], duration_ms=3 * 10**9)
        | {"status": "failure", "status_code": 429},
        call("03T10:00", "4", id="c", user_id="ada", model="mini", end_user="customer"),
        call("31T23:59", "8", id="d", user_id="ada"),
    )
    fold_or_not()

    for query, result in FILTERED:
        assert ids(api, query) == result, query
        if "page" not in query:
            response = api.get(f"{PAGED}&{query}")
            assert response.json()["total"] == len(result), query
            assert response["X-Costtrack-Total"] == "exact", query


def test_keys_by_value_and_by_name(api: APIClient, organization: Organization) -> None:
    sent = {}
    for name in ("one", "two"):
        key = make_key(organization, Scope.USAGE_WRITE, name=name)
        key.client().post("/usage/events", [call("02T09:00", "1", id=name)], format="json")
        sent[name] = key.credential.client_id

    assert ids(api, f"api_key={key_hash(sent['one'])}") == ["one"]
    assert ids(api, "key_alias=two") == ["two"]
    assert ids(api, f"key_alias=two&api_key={sent['two']}") == ["two"]
    assert ids(api, f"key_alias=two&api_key={sent['one']}") == ids(api, "key_alias=nobody") == []
    assert ids(api, "key_alias=two&sort_by=spend") == ["two"]
    assert api.get(f"{PAGED}&key_alias=nobody&sort_by=spend").json()["total"] == 0


def test_litellms_teams_and_deployments(api: APIClient) -> None:
    sent = payload(id="chatcmpl-1", model_id="deployment-1")
    sent["metadata"]["user_api_key_team_id"] = "blue"
    assert api.post("/integrations/litellm", [sent], format="json").json()["accepted"] == 1
    window = "start_date=2020-01-01&end_date=2030-01-01"

    for query in ("team_id=blue", "model_id=deployment-1", "team_id=blue&request_id=chatcmpl-1"):
        assert ids(api, query, window) == ["chatcmpl-1"], query
    for query in ("team_id=red", "model_id=other", "model_id=other&request_id=chatcmpl-1"):
        assert ids(api, query, window) == [], query


def test_spend_is_filtered_and_ordered_as_it_is_now(api: APIClient, organization: Organization, send: Send) -> None:
    send(
        call("02T09:00", "1", id="more expensive now", input_tokens=1),
        call("02T10:00", "2", id="voided", input_tokens=9),
        call("02T11:00", "4", id="as it was", input_tokens=4),
    )
    by_id = {event.event_id: event.pk for event in UsageEvent.objects.of(organization)}
    fields: dict[str, Any] = {"organization": organization, "reason": "A test.", "actor": "tests", "now": NOW}
    void(event_id=by_id["voided"], **fields)
    adjust(event_id=by_id["more expensive now"], cost_usd=Decimal(8), **fields)

    assert ids(api, "sort_by=spend") == ["more expensive now", "as it was", "voided"]
    assert ids(api, "sort_by=total_tokens") == ["as it was", "more expensive now", "voided"]
    assert ids(api, "min_spend=5") == ["more expensive now"]
    assert ids(api, "max_spend=0") == ["voided"]


def test_what_is_voided_still_has_its_row(api: APIClient, organization: Organization, send: Send) -> None:
    send(call("02T09:00", "1"), call("02T10:00", "1"))
    event = UsageEvent.objects.of(organization).first()
    assert event is not None
    void(organization=organization, event_id=event.pk, reason="A test.", actor="tests", now=NOW)

    body = api.get(PAGED).json()

    assert (body["total"], len(body["data"])) == (2, 2)


def test_pages_have_every_row_once_in_any_order(api: APIClient, send: Send, fold_or_not: Any) -> None:
    send(*(call(f"{2 + number % 5:02}T09:00", "1", id=str(number), user_id="ada") for number in range(25)))
    fold_or_not()

    for query in ("", "user_id=ada", "sort_order=asc", "user_id=ada&sort_order=asc", "sort_by=spend"):
        walked = [item for page in range(1, 10) for item in ids(api, f"{query}&page_size=3&page={page}")]
        assert len(walked) == 25, query
        assert len(set(walked)) == 25, query


def test_rare_rows_are_found_on_their_days(api: APIClient, send: Send, fold_or_not: Any) -> None:
    send(
        *(call(f"{day:02}T{hour:02}:00", "1", id=f"{day}-{hour}") for day in range(1, 32) for hour in (1, 12)),
        *(call(f"{day:02}T06:00", "1", id=f"ada-{day}", user_id="ada") for day in (1, 2, 9, 20, 21, 31)),
    )
    fold_or_not()

    assert ids(api, "user_id=ada") == ["ada-31", "ada-21", "ada-20", "ada-9", "ada-2", "ada-1"]
    assert ids(api, "user_id=ada&page_size=2&page=2") == ["ada-20", "ada-9"]
    assert ids(api, "user_id=ada&sort_order=asc&page_size=2&page=2") == ["ada-9", "ada-20"]
    cut = "start_date=2026-10-01T06:00:01Z&end_date=2026-10-31T05:59:59Z"
    assert ids(api, "user_id=ada", cut) == ["ada-21", "ada-20", "ada-9", "ada-2"]
    assert ids(api, "user_id=ada&page_size=1", cut) == ["ada-21"]
    assert ids(api, "user_id=ada&sort_by=spend&sort_order=asc&page_size=1", cut) == ["ada-21"]


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """`test_spend_logs` has as many rows as there are in fact."""
    monkeypatch.setattr("billing.reports.spend.spend_logs.MAX_ROWS", 100)


@pytest.mark.usefixtures("few_rows")
def test_only_so_many_rows_of_a_window_can_be_paged_through(api: APIClient, send: Send) -> None:
    item = {"cost_usd": "0.5", "occurred_at": "2026-10-02T09:00:00Z", "user_id": "ada"}
    send(*(item for _ in range(99)))
    send(*(item for _ in range(2)))

    for query in ("", "&user_id=ada"):
        response = api.get(f"{PAGED}{query}&page=10&page_size=10")
        assert len(response.json()["data"]) == 10
        assert (response.json()["total"], response["X-Costtrack-Total"]) == (101, "calls")
        assert refused(api, f"{PAGED}{query}&page=11&page_size=10") == (400, "bad_request", "page")
        # The last page that begins among those rows ends with them.
        assert len(api.get(f"{PAGED}{query}&page=12&page_size=9").json()["data"]) == 1
        assert refused(api, f"{PAGED}{query}&page=13&page_size=9") == (400, "bad_request", "page")


@pytest.mark.usefixtures("few_rows")
def test_rows_that_no_rollup_counts_are_counted_as_far_as_pages_go(api: APIClient, send: Send) -> None:
    tool = {"kind": "tool_call", "tool": "search", "occurred_at": "2026-10-02T09:00:00Z"}
    for _ in range(2):
        send(*(tool for _ in range(60)))

    response = api.get(f"{PAGED}&page=10&page_size=10")

    assert (response.json()["total"], response["X-Costtrack-Total"]) == (100, "at_least")
    assert len(response.json()["data"]) == 10
    assert refused(api, f"{PAGED}&page=11&page_size=10") == (400, "bad_request", "page")


def test_filters_that_read_every_call_need_a_window_with_few(
    api: APIClient, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.reports.spend.spend_logs.MAX_SCANNED", 2)
    send(*(call(f"{day:02}T09:00", "1", id=str(day), user_id="ada") for day in (1, 2, 3)))
    send(call("01T09:00", "1", id="grace", user_id="grace"))

    for query in ("sort_by=spend", "min_spend=1", "team_id=red", "sort_by=endTime&user_id=ada"):
        assert refused(api, f"{PAGED}&{query}") == (400, "bad_request", "end_date"), query
    assert ids(api, "sort_by=spend&user_id=grace") == ["grace"]  # only that day is read
    assert ids(api, "sort_by=spend", "start_date=2026-10-02&end_date=2026-10-03") == ["3", "2"]


def test_rows_that_are_too_far_between_need_a_shorter_window(
    api: APIClient, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.reports.event_days.MAX_READ", 4)
    send(*(call(f"{day:02}T09:00", "1", id=f"{day}-{who}", user_id=who) for day in (1, 2, 3) for who in ("ada", "bob")))

    assert ids(api, "user_id=ada&page_size=2") == ["3-ada", "2-ada"]
    assert refused(api, f"{PAGED}&user_id=ada&page_size=3") == (400, "bad_request", "end_date")
    plain = api.get(f"/spend/logs?user_id=ada&{MONTH}&summarize=false")
    assert [row["request_id"] for row in plain.json()] == ["3-ada", "2-ada"]
    assert plain["X-Costtrack-Truncated"] == "true"


@pytest.mark.parametrize(
    ("query", "param"),
    [*BAD_DATES, ("", "start_date"), ("start_date=2026-10-01", "end_date"), ("end_date=", "start_date")],
)
def test_dates_are_required_and_bad_ones_named(api: APIClient, query: str, param: str) -> None:
    status, kind, named = refused(api, f"/spend/logs/v2?{query}")

    assert (status, kind) == (400, "bad_request")
    assert named == param or "Please provide" in api.get(f"/spend/logs/v2?{query}").json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("page=0", 422, "page"),
        ("page=-1", 422, "page"),
        ("page=x", 422, "page"),
        ("page=99999999999999999999", 422, "page"),
        ("page_size=0", 422, "page_size"),
        ("page_size=101", 422, "page_size"),
        ("min_spend=x", 422, "min_spend"),
        ("min_spend=NaN", 422, "min_spend"),
        ("min_spend=1e400", 422, "min_spend"),
        ("min_spend=2&max_spend=1", 400, "max_spend"),
        ("status_filter=perhaps", 422, "status_filter"),
        ("sort_by=model", 422, "sort_by"),
        ("sort_order=up", 422, "sort_order"),
        ("error_code=x", 422, "error_code"),
        ("error_code=99999", 422, "error_code"),
        ("team_id=a%00b", 422, "team_id"),
        ("key_alias=a%00b", 422, "key_alias"),
        ("error_message=timeout", 400, "error_message"),
    ],
)
def test_bad_parameters_are_named(api: APIClient, query: str, status: int, param: str) -> None:
    assert refused(api, f"{PAGED}&{query}") == (status, "bad_request", param)


@pytest.mark.parametrize("query", ["page=1000000000", "page=1000000000&user_id=ada", "page=1000000000&sort_by=spend"])
def test_a_page_far_past_the_end_is_empty(api: APIClient, send: Send, query: str) -> None:
    send(call("02T09:00", "1", user_id="ada"))

    body = api.get(f"{PAGED}&{query}").json()

    assert (body["data"], body["total"], body["total_pages"]) == ([], 1, 1)


def test_who_may_read(organization: Organization, owner: User, viewer: User, stranger: User, send: Send) -> None:
    send(call("02T09:00", "1", user_id="ada"))
    assert refused(APIClient(), PAGED)[0] == 401
    assert refused(make_key(organization, Scope.USAGE_WRITE).client(), PAGED)[0] == 403
    for user, total in ((owner, 1), (viewer, 1), (stranger, 0)):
        client = Client()
        client.force_login(user)
        for query in ("", "&user_id=ada", "&sort_by=spend", "&team_id=x"):
            assert client.get(PAGED + query).json()["total"] == (total if query != "&team_id=x" else 0)


def test_the_number_of_queries_is_fixed(
    api: APIClient, send: Send, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    send(*(call("02T09:00", "1", user_id="ada") for _ in range(100)))
    fold(now=NOW)
    for _ in range(2):
        api.get(PAGED)
    # The credential's version, and the tenant scope: begin, enter, leave, end.
    always = 1 + 4
    with django_assert_num_queries(always + 3):  # calls, the number of rows, the page
        api.get(PAGED)
    with django_assert_num_queries(always + 4):  # and on which days
        api.get(f"{PAGED}&user_id=ada")
