"""`GET /usage/limits`: how every limit stands."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.limits.services import open_limit, pause_limit, raise_limit
from billing.models import SpendLimit
from billing.rollups.fold import fold
from billing.types import LimitAction, LimitScope, LimitWindow
from organizations.models import Organization, User
from organizations.principals import Principal
from tests.limits import set_limit, take
from tests.usage import NOW, Send

URL = "/usage/limits"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _monday_noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def ask(api: Client | APIClient, query: str = "") -> list[dict[str, Any]]:
    response = api.get(f"{URL}?{query}")
    assert response.status_code == 200, response.content
    limits: list[dict[str, Any]] = response.json()["limits"]
    return limits


def call(usd: str, age: timedelta = timedelta(hours=1), **fields: Any) -> dict[str, Any]:
    return {"cost_usd": usd, "occurred_at": (NOW - age).isoformat(), **fields}


def excepted(organization: Organization, limit: SpendLimit, value: str = "") -> dict[str, Any]:
    by_an_operator = Principal(user=User(email="operator@costtrack.example", is_superuser=True))
    about = {"organization": organization, "limit": limit, "value": value}
    return {**about, "reason": "The launch.", "ends_at": NOW + DAY, "actor": by_an_operator, "now": NOW}


def test_without_limits_there_is_nothing_to_list(api: APIClient) -> None:
    assert api.get(URL).json() == {
        "organization": "acme",
        "plan": "pay_as_you_go",
        "currency": "USD",
        "timezone": "UTC",
        "week_start": 1,
        "as_of": "2026-11-02T12:00:00Z",
        "limits": [],
    }


def test_a_limit_has_every_figure(organization: Organization, api: APIClient, send: Send) -> None:
    limit = set_limit(organization, "50", window=LimitWindow.ROLLING_7D, soft_amount_usd=Decimal(30))
    send(call("21", 2 * DAY), call("20.25"), call("7", 8 * DAY), {"model": "house", "input_tokens": 5})
    take(organization, "0.75", now=NOW)

    (result,) = ask(api)

    assert result == {
        "id": limit.pk,
        "scope": "organization",
        "scope_value": "",
        "of_each": False,
        "window": "rolling_7d",
        "action": "pause",
        "amount_usd": "50",
        "base_amount_usd": "50",
        "raised_until": None,
        "soft_amount_usd": "30",
        "thresholds": [80, 95, 100],
        "paused_by_hand": None,
        "opened_by_hand": None,
        "spent_usd": "41.25",
        "reserved_usd": "0.75",
        "remaining_usd": "8",
        "percent": 82.5,
        "state": "warning",
        "window_start": "2026-10-26T12:00:00.000001Z",
        "window_end": None,
        "resets_at": None,
        "as_of": "2026-11-02T12:00:00Z",
        "unpriced_events": 1,
        "unpriced_since": "2026-11-02T12:00:00Z",
        # At 20.25 a day the missing 8.75 take ten hours and 22 minutes.
        "hit_at": "2026-11-02T22:22:13.333334Z",
    }


def test_a_reached_limit_says_until_when(organization: Organization, api: APIClient, send: Send) -> None:
    organization.time_zone = "Europe/Berlin"
    organization.save()
    set_limit(organization, "10", window=LimitWindow.ROLLING_7D)
    set_limit(organization, "10", window=LimitWindow.CALENDAR_MONTH)
    set_limit(organization, "10", window=LimitWindow.LIFETIME, action=LimitAction.NOTIFY.value)
    send(call("6", 2 * DAY), call("4", DAY / 2), call("0.000001"))
    rolling, month, ever = ask(api)
    assert (rolling["state"], rolling["resets_at"]) == ("paused", "2026-11-07T12:00:00Z")
    assert (month["state"], month["spent_usd"]) == ("ok", "4.000001")
    assert (month["window_start"], month["window_end"]) == ("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z")
    assert (ever["state"], ever["resets_at"], ever["window_start"]) == ("exceeded", None, None)
    assert ever["percent"] == 100.0
    assert [limit["hit_at"] is None for limit in (rolling, month, ever)] == [True, False, True]


def test_a_percentage_is_never_rounded_up_to_a_threshold(
    organization: Organization, api: APIClient, send: Send
) -> None:
    set_limit(organization, "10")
    send(call("9.9999999"))
    assert ask(api)[0]["percent"] == 99.99


def test_of_each_value_those_are_listed_that_matter(organization: Organization, api: APIClient, send: Send) -> None:
    limit = set_limit(organization, "10", LimitScope.USER)
    send(call("8", user_id="ada"), call("11", user_id="brin"), call("7.99", user_id="cleo"), call("100"))
    (result,) = ask(api)
    assert (result["id"], result["scope"], result["scope_value"], result["of_each"]) == (limit.pk, "user", "", True)
    assert (result["values_left_out"], result["values_used"]) == (0, 3)
    assert "spent_usd" not in result
    assert [(item["scope_value"], item["spent_usd"], item["state"]) for item in result["values"]] == [
        ("brin", "11", "paused"),
        ("ada", "8", "warning"),
    ]
    assert all((item["id"], item["of_each"]) == (limit.pk, True) for item in result["values"])


def test_at_most_fifty_values_are_listed(organization: Organization, api: APIClient, send: Send) -> None:
    set_limit(organization, "10", LimitScope.RUN)
    send(*(call(f"{10 + number}", run_id=f"run-{number}") for number in range(52)), call("1", run_id="small"))
    (result,) = ask(api)
    assert [item["scope_value"] for item in result["values"]] == [f"run-{number}" for number in range(51, 1, -1)]
    assert (result["values_left_out"], result["values_used"]) == (2, 53)


def test_one_value_is_reported_exactly_in_every_state(organization: Organization, api: APIClient, send: Send) -> None:
    each = set_limit(organization, "10", LimitScope.USER)
    own = set_limit(organization, "5", LimitScope.USER, "ada")
    set_limit(organization, "5", LimitScope.USER, "brin")
    set_limit(organization, "5")
    send(call("1", user_id="ada"), call("20", user_id="brin"))
    of_each, of_ada = ask(api, "scope=user&scope_value=ada")
    assert (of_each["id"], of_each["values_used"], of_ada["id"]) == (each.pk, None, own.pk)
    assert [(item["scope_value"], item["spent_usd"]) for item in of_each["values"]] == [("ada", "1")]
    (of_nobody,) = ask(api, "scope=user&scope_value=nobody")
    assert [(item["scope_value"], item["spent_usd"]) for item in of_nobody["values"]] == [("nobody", "0")]


def test_a_credential_is_named_by_its_client_id(
    organization: Organization, api: APIClient, key: Any, other_key: Any
) -> None:
    client_id = key.credential.client_id
    set_limit(organization, "10", LimitScope.CREDENTIAL)
    set_limit(organization, "5", LimitScope.CREDENTIAL, client_id)
    assert api.post("/usage/events", [call("9")], format="json").status_code == 200
    each, own = ask(api)
    assert [item["scope_value"] for item in each["values"]] == [client_id]
    assert (own["scope_value"], own["spent_usd"], own["state"]) == (client_id, "9", "paused")
    assert len(ask(api, f"scope=credential&scope_value={client_id}")) == 2
    for unknown in ("ct_nobody", other_key.credential.client_id):
        assert ask(api, f"scope=credential&scope_value={unknown}") == []


def test_filters(organization: Organization, api: APIClient, send: Send) -> None:
    whole = set_limit(organization, "10")
    each = set_limit(organization, "10", LimitScope.USER)
    model = set_limit(organization, "100", LimitScope.MODEL, "gpt-4o")
    send(call("9", user_id="ada", model="gpt-4o"), call("8", user_id="brin"))

    def ids(query: str) -> list[int]:
        return [limit["id"] for limit in ask(api, query)]

    assert ids("") == ids("scope=&scope_value=&state=&organization=acme") == [whole.pk, each.pk, model.pk]
    assert ids("scope=user") == [each.pk]
    assert ids("scope=model&scope_value=gpt-4o") == [model.pk]
    assert ids("scope=organization&scope_value=ada") == ids("scope=tag") == []
    assert ids("state=paused") == [whole.pk]
    assert ids("state=warning") == [each.pk]
    assert ids("state=ok") == [model.pk]
    assert ids("state=ok&scope=user&scope_value=cleo") == [each.pk]


def test_limits_with_rows_of_their_own_are_found_by_the_value_of_their_scope(
    organization: Organization, api: APIClient, key: Any
) -> None:
    """Of the newer scopes, and of several conditions together."""
    client_id = key.credential.client_id
    conditions = [{"scope": "team", "scope_value": "core"}]
    found = {}
    for scope, value, sought, more in (
        ("end_user", "cust", "%20cust", {}),
        ("team", "core", "core", {}),
        ("provider", "openai", "OpenAI", {}),
        ("model", "gpt-4o", "openai%2FGPT-4o", {"conditions": conditions}),
        ("credential", client_id, client_id, {"conditions": conditions}),
    ):
        terms = {"scope": scope, "scope_value": value, "window": "lifetime", "amount_usd": "5", **more}
        made = api.post("/organizations/acme/limits", terms, format="json")
        assert made.status_code == 201, made.content
        found[scope] = ([limit["id"] for limit in ask(api, f"scope={scope}&scope_value={sought}")], made.json()["id"])
        assert ask(api, f"scope={scope}&scope_value=other") == []
    assert {scope: ids for scope, (ids, made) in found.items() if ids != [made]} == {}


def test_what_was_done_manually_is_reported(organization: Organization, api: APIClient, send: Send) -> None:
    raised, paused, opened = (set_limit(organization, "10") for _ in range(3))
    raise_limit(amount_usd=Decimal(20), **excepted(organization, raised))
    pause_limit(**excepted(organization, paused))
    open_limit(**excepted(organization, opened))
    send(call("10"))
    first, second, third = ask(api)
    override = {"reason": "The launch.", "until": "2026-11-03T12:00:00Z"}
    assert (first["amount_usd"], first["base_amount_usd"]) == ("20", "10")
    assert (first["raised_until"], first["state"], first["percent"]) == ("2026-11-03T12:00:00Z", "ok", 50.0)
    assert (second["paused_by_hand"], second["opened_by_hand"], second["state"]) == (override, None, "paused")
    assert (third["paused_by_hand"], third["opened_by_hand"], third["state"]) == (None, override, "exceeded")


def test_a_value_with_an_exception_is_listed_with_any_spend(organization: Organization, api: APIClient) -> None:
    limit = set_limit(organization, "10", LimitScope.USER)
    pause_limit(**excepted(organization, limit, "ada"))
    raise_limit(amount_usd=Decimal(20), **excepted(organization, limit, "brin"))
    (result,) = ask(api)
    assert [(item["scope_value"], item["state"], item["amount_usd"]) for item in result["values"]] == [
        ("ada", "paused", "10"),
        ("brin", "ok", "20"),
    ]
    with time_machine.travel(NOW + DAY, tick=False):
        assert ask(api)[0]["values"] == []


def test_limits_that_have_not_begun_have_ended_or_were_removed_are_not_there(
    organization: Organization, api: APIClient
) -> None:
    others: tuple[dict[str, Any], ...] = ({"starts_at": NOW + DAY}, {"ends_at": NOW}, {"removed_at": NOW - DAY})
    for dates in others:
        set_limit(organization, "10", **dates)
        set_limit(organization, "10", LimitScope.USER, **dates)
    assert ask(api) == []
    with time_machine.travel(NOW + DAY, tick=False):
        assert len(ask(api)) == 2


def test_it_takes_a_few_statements_however_many_limits_and_values_there_are(
    organization: Organization, api: APIClient, send: Send
) -> None:
    def statements() -> int:
        fold(now=NOW)  # the rollups have whole hours; when a limit resets, their events tell
        for _ in range(2):  # the first request also notes that the credential was used
            ask(api)
        with CaptureQueriesContext(connection) as captured:
            ask(api)
        return sum(not query["sql"].startswith(("SAVEPOINT", "RELEASE", "SET")) for query in captured)

    rolling = LimitWindow.ROLLING_7D
    set_limit(organization, "10", LimitScope.USER, window=rolling)
    send(call("11", user_id="ada"))
    few = statements()
    for number in range(10):
        set_limit(organization, "10", LimitScope.RUN, window=rolling)
        set_limit(organization, "10", LimitScope.USER, f"user-{number}", window=rolling)
        send(call("11", number * DAY / 2, user_id=f"user-{number}", run_id=f"run-{number}"))
    assert statements() == few <= 6
