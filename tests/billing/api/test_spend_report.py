"""Document 004 (LiteLLM's): `GET /global/spend/report`."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.reports.spend.keys import key_hash
from organizations.models import Organization, User
from organizations.types import Scope
from tests.billing.api.spend_requests import BAD_DATES, MONTH, call, refused
from tests.conftest import Key, make_key
from tests.usage import Send

REPORT = f"/global/spend/report?{MONTH}"


def report(api: APIClient, query: str = "") -> Any:
    response = api.get(f"{REPORT}&{query}")
    assert response.status_code == 200, response.content
    return response.json()


def test_teams_are_tags(api: APIClient, send: Send) -> None:
    send(
        call("02T09:00", "1", tags=["team:red", "x"]),
        call("02T10:00", "2", tags=["team:blue"]),
        call("02T11:00", "4"),
        call("03T09:00", "8", tags=["team:red"]),
        call("04T09:00", "16"),
    )

    def team(name: str, spend: float) -> dict[str, Any]:
        return {"team_name": name, "total_spend": spend, "metadata": []}

    assert report(api) == [
        {
            "group_by_day": "2026-10-02T00:00:00+00:00",
            "teams": [team("Unassigned Team", 4.0), team("blue", 2.0), team("red", 1.0)],
        },
        {"group_by_day": "2026-10-03T00:00:00+00:00", "teams": [team("red", 8.0)]},
        {"group_by_day": "2026-10-04T00:00:00+00:00", "teams": [team("Unassigned Team", 16.0)]},
    ]
    of_red = [(day["group_by_day"][:10], day["teams"]) for day in report(api, "team_id=red")]
    assert of_red == [("2026-10-02", [team("red", 1.0)]), ("2026-10-03", [team("red", 8.0)])]
    assert report(api, "team_id=nobody") == []


def test_without_teams_the_organization_is_the_one_team(api: APIClient, key: Key) -> None:
    events = [call("02T09:00", "1", input_tokens=5), call("02T10:00", "2", model="mini", tags=["x"])]
    assert api.post("/usage/events", events, format="json").status_code == 200
    hashed = key_hash(key.credential.client_id)

    assert report(api, "group_by=team") == [
        {
            "group_by_day": "2026-10-02T00:00:00+00:00",
            "teams": [
                {
                    "team_name": "Acme Research",
                    "total_spend": 3.0,
                    "metadata": [
                        {"model": "gpt-4o", "api_key": hashed, "spend": 1.0, "total_tokens": 5},
                        {"model": "mini", "api_key": hashed, "spend": 2.0, "total_tokens": 0},
                    ],
                }
            ],
        }
    ]
    assert report(api, "team_id=acme") == report(api)
    assert report(api, "team_id=red") == []


def test_customers_by_day(api: APIClient, send: Send) -> None:
    send(
        call("02T09:00", "1", end_user="palette", input_tokens=3),
        call("02T10:00", "2", end_user="palette", model="mini"),
        call("02T10:00", "4", end_user="quarry"),
        call("03T10:00", "8", end_user="palette"),
        call("03T10:00", "16"),
    )

    days = report(api, "group_by=customer")

    assert [[(customer["customer"], customer["total_spend"]) for customer in day["customers"]] for day in days] == [
        [("quarry", 4.0), ("palette", 3.0)],
        [("palette", 8.0)],
    ]
    assert days[0]["customers"][1]["metadata"] == [
        {"model": "gpt-4o", "api_key": "", "spend": 1.0, "total_tokens": 3},
        {"model": "mini", "api_key": "", "spend": 2.0, "total_tokens": 0},
    ]
    of_quarry = report(api, "customer_id=quarry")
    assert [[customer["customer"] for customer in day["customers"]] for day in of_quarry] == [["quarry"]]


def test_keys_with_their_models(api: APIClient, organization: Organization, send: Send) -> None:
    key = make_key(organization, Scope.USAGE_WRITE, name="one")
    own = [
        call("02T09:00", "1", input_tokens=3, cache_read_tokens=1, output_tokens=2, user_id="ada"),
        call("03T09:00", "2", model="mini", user_id="grace"),
    ]
    key.client().post("/usage/events", own, format="json")
    send(call("02T09:00", "16", user_id="ada"))
    hashed = key_hash(key.credential.client_id)

    def model(name: str, cost: float, tokens_in: int = 0, tokens_out: int = 0) -> dict[str, Any]:
        counts = {"total_input_tokens": tokens_in, "total_output_tokens": tokens_out}
        return {"model": name, "total_cost": cost, **counts}

    of_nobody, of_one = report(api, "group_by=api_key")
    assert (of_nobody["api_key"], of_nobody["total_cost"]) == ("", 16.0)
    assert of_one == {
        "api_key": hashed,
        "total_cost": 3.0,
        "total_input_tokens": 4,
        "total_output_tokens": 2,
        "model_details": [model("gpt-4o", 1.0, 4, 2), model("mini", 2.0)],
    }
    for name in (hashed, key.credential.client_id, key.api_key):
        assert report(api, f"api_key={name}") == [of_one]
    of_ada = report(api, "internal_user_id=ada")
    assert [(item["api_key"], item["total_cost"]) for item in of_ada] == [("", 16.0), (hashed, 1.0)]
    assert [item["total_cost"] for item in report(api, f"internal_user_id=ada&api_key={hashed}")] == [1.0]
    assert report(api, "api_key=nobodys") == report(api, "internal_user_id=nobody") == []


def test_a_window_may_cut_days(api: APIClient, send: Send) -> None:
    send(*(call(f"02T{hour:02}:00", "1", tags=["team:red"], end_user="palette") for hour in range(24)))
    window = "start_date=2026-10-02T06:00:00Z&end_date=2026-10-02T11:59:59Z"

    for query in ("", "&group_by=customer", "&group_by=api_key"):
        (item,) = api.get(f"/global/spend/report?{window}{query}").json()
        totals = item.get("teams") or item.get("customers") or [{"total_spend": item.get("total_cost")}]
        assert [total["total_spend"] for total in totals] == [6.0]


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("group_by=model", 422, "group_by"),
        ("team_id=a&customer_id=b", 400, "customer_id"),
        ("team_id=a%00", 422, "team_id"),
    ],
)
def test_bad_parameters_are_named(api: APIClient, query: str, status: int, param: str) -> None:
    assert refused(api, f"{REPORT}&{query}") == (status, "bad_request", param)


@pytest.mark.parametrize(("query", "param"), BAD_DATES)
def test_bad_dates_are_a_400(api: APIClient, query: str, param: str) -> None:
    given = dict(row.split("=") for row in query.split("&"))
    dates = {"start_date": "2026-10-01", "end_date": "2026-10-31", **given}
    url = "&".join(f"{name}={value}" for name, value in dates.items())
    assert refused(api, f"/global/spend/report?{url}") == (400, "bad_request", param)
    assert refused(api, "/global/spend/report") == (400, "bad_request", "start_date")


def test_who_may_read(organization: Organization, owner: User, viewer: User, stranger: User, send: Send) -> None:
    send(call("02T09:00", "1", tags=["team:red"], end_user="palette"))
    writer = make_key(organization, Scope.USAGE_WRITE).client()
    for query in ("", "&group_by=customer", "&group_by=api_key"):
        assert refused(APIClient(), REPORT + query)[0] == 401
        assert refused(writer, REPORT + query)[0] == 403
        for user, seen in ((owner, 1), (viewer, 1), (stranger, 0)):
            client = Client()
            client.force_login(user)
            assert len(client.get(REPORT + query).json()) == seen
