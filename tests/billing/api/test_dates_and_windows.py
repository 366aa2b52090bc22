"""Dates and windows mean the same wherever they are given: a date as an end is its whole day, neighboring windows add
up to the whole, and today, seven days and the windows of limits agree."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from rest_framework.test import APIClient

from billing.models import Repricing, UsageEvent
from billing.rollups.fold import fold_organization
from costtrack.clock import iso
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn, sign_in
from tests.usage import Send, set_price

__all__ = ["sign_in"]  # a fixture from another module

PATH = "/organizations/acme"
NOON = datetime(2026, 11, 15, 12, tzinfo=UTC)


@pytest.fixture
def auckland(organization: Organization) -> Organization:
    """Acme in Auckland, where a day is 11 hours ahead of UTC's (13 in summer), with the largest plan."""
    Organization.objects.filter(pk=organization.pk).update(time_zone="Pacific/Auckland", plan="enterprise")
    return Organization.objects.get(pk=organization.pk)


def post(api: APIClient, path: str, **body: Any) -> Any:
    response = api.post(f"{PATH}/{path}", body, format="json")
    assert response.status_code in (200, 201, 202), response.content
    return response.json()


@pytest.mark.parametrize(
    ("at", "cost"),
    [
        ("2026-10-31T10:59:59.999999Z", "2.5"),  # the last moment of October in Auckland
        ("2026-10-31T11:00:00Z", "1"),
        ("2026-11-15T10:59:59.999999Z", "1"),
        ("2026-11-15T11:00:00Z", "2.5"),
    ],
)
def test_a_price_is_effective_on_all_of_its_last_day(
    api: APIClient, auckland: Organization, send: Send, at: str, cost: str
) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")
    price = {"provider": "openai", "model": "gpt-4o", "input_usd_per_million": "1", "output_usd_per_million": "1"}
    created = post(api, "prices", **price, effective_from="2026-11-01", effective_to="2026-11-15")
    assert (created["effective_from"], created["effective_to"]) == ("2026-10-31T11:00:00Z", "2026-11-15T11:00:00Z")

    send(
        {"service": "openai", "model": "gpt-4o", "input_tokens": 1_000_000, "output_tokens": 0, "occurred_at": at},
        now=NOON,
    )
    assert UsageEvent.objects.get().token_cost_usd == Decimal(cost)

    period = post(api, "prices/reprice", start="2026-11-01", end="2026-11-15")
    assert (period["start"], period["end"]) == (created["effective_from"], created["effective_to"])
    ended = post(api, f"prices/{created['id']}/end", effective_to="2026-11-14")
    assert ended["effective_to"] == "2026-11-14T11:00:00Z"


@time_machine.travel(NOON, tick=False)
def test_ends_of_keys_limits_raises_pauses_and_requests_include_their_day(
    api: APIClient, auckland: Organization, owner: User, sign_in: SignIn
) -> None:
    midnight = "2026-12-31T11:00:00Z"
    assert post(api, "credentials", name="e", expires_at="2026-12-31")["expires_at"] == midnight
    limit = post(
        api,
        "limits",
        scope="organization",
        window="calendar_month",
        amount_usd="1",
        starts_at="2026-12-01",
        ends_at="2026-12-31",
    )
    assert (limit["starts_at"], limit["ends_at"]) == ("2026-11-30T11:00:00Z", midnight)
    path = f"{PATH}/limits/{limit['id']}"
    changed = api.patch(path, {"ends_at": "2026-12-30T23:59:59+13:00"}, format="json").json()
    assert changed["ends_at"] == "2026-12-30T11:00:00Z"

    # It is 1:00 on the 16th in Auckland, so the 16th has not ended and the 15th has.
    until_today = {"amount_usd": "5", "ends_at": "2026-11-16", "reason": "x"}
    raised = api.post(f"{path}/raise", until_today, format="json").json()
    assert [override["ends_at"] for override in raised["overrides"]] == ["2026-11-16T11:00:00Z"]
    assert api.post(f"{path}/raise", {**until_today, "ends_at": "2026-11-15"}, format="json").status_code == 422
    for action in ("pause", "resume"):
        answer = api.post(f"{path}/{action}", {"ends_at": "2026-11-16", "reason": "x"}, format="json").json()
        assert {override["ends_at"] for override in answer["overrides"]} == {"2026-11-16T11:00:00Z"}

    request = post(api, "limit-requests", limit=limit["id"], amount_usd="9", until="2026-12-05", reason="x")
    assert request["until"] == "2026-12-05T11:00:00Z"
    client = APIClient()
    client.force_login(owner)
    granted = client.post(f"{PATH}/limit-requests/{request['id']}/grant", {"until": "2026-12-06"}, format="json")
    assert granted.json()["granted_until"] == "2026-12-06T11:00:00Z"


@time_machine.travel(NOON, tick=False)
def test_pages_take_a_date_without_a_time(auckland: Organization, owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    given = {"organization": auckland.pk, "expires_at_0": "2026-12-31", "expires_at_1": ""}
    browser.post(
        "/admin/organizations/apicredential/add/",
        {**given, "name": "e", "environment": "production", "scopes": ["costs:read"]},
    )
    assert iso(auckland.credentials.get(name="e").expires_at) == "2026-12-31T11:00:00Z"

    period = {"start_0": "2026-11-15", "start_1": "", "end_0": "2026-11-15", "end_1": ""}
    browser.post("/admin/billing/repricing/add/", {"organization": auckland.pk, "service": "", "model": "", **period})
    repricing = Repricing.objects.get()
    assert (iso(repricing.start), iso(repricing.end)) == ("2026-11-14T11:00:00Z", "2026-11-15T11:00:00Z")

    log = browser.get("/o/acme/admin/requests/", {"start": "2026-11-15", "end": "2026-11-15"})
    assert tuple(map(iso, log.context["period"].span)) == ("2026-11-14T11:00:00Z", "2026-11-15T11:00:00Z")


def test_the_command_takes_days_of_the_organization(auckland: Organization) -> None:
    call_command("reprice", "--organization", "acme", "--from", "2026-11-15", "--to", "2026-11-15")
    repricing = Repricing.objects.get()
    assert (iso(repricing.start), iso(repricing.end)) == ("2026-11-14T11:00:00Z", "2026-11-15T11:00:00Z")


def _spend(body: Any) -> Decimal:
    return sum((Decimal(str(row["spend"])) for row in body), Decimal(0))


Total = Callable[[APIClient, str, str], Decimal]


def _get(path: str, read: Callable[[Any], object], **params: str) -> Total:
    def total(api: APIClient, start: str, end: str) -> Decimal:
        response = api.get(path, {**params, "start_date": start, "end_date": end})
        assert response.status_code == 200, response.content
        return Decimal(str(read(response.json())))

    return total


def _post(path: str, read: Callable[[Any], object]) -> Total:
    def total(api: APIClient, start: str, end: str) -> Decimal:
        response = api.post(path, {"start_date": start, "end_date": end}, format="json")
        assert response.status_code == 200, response.content
        return Decimal(str(read(response.json())))

    return total


TOTALS: dict[str, Total] = {
    "summary": _get("/usage/summary", lambda body: body["cost_usd"]),
    "timeseries": _get("/usage/timeseries", lambda body: body["total"]["cost_usd"], view="cost"),
    "requests": _get("/usage/requests", lambda body: sum(Decimal(row["cost_usd"]) for row in body["results"])),
    "events": _get("/usage/events", lambda body: sum(Decimal(row["cost_usd"]) for row in body["results"])),
    "logs": _get("/spend/logs", _spend, summarize="false"),
    "log_days": _get("/spend/logs", _spend),
    "log_page": _get("/spend/logs/v2", lambda body: _spend(body["data"])),
    "tags": _get("/spend/tags", lambda body: sum(row["total_spend"] for row in body)),
    "runs": _get("/costs/runs", lambda body: body["total_cost"]),
    "pricing": _post("/system/pricing", lambda body: sum(Decimal(row["total_cost"]) for row in body["daily"])),
    "groups": _post("/system/groups", lambda body: sum(Decimal(row["total_cost"]) for row in body["data"])),
}
BORDER = "2026-10-28T00:00:00Z"
BEFORE = ("2026-10-27T00:00:00Z", BORDER)
AFTER = (BORDER, "2026-10-29T00:00:00Z")
WHOLE = (BEFORE[0], AFTER[1])


@pytest.mark.parametrize("name", TOTALS)
@pytest.mark.parametrize("folded", [True, False])
def test_neighboring_windows_add_up_to_the_whole(
    api: APIClient, organization: Organization, send: Send, name: str, *, folded: bool
) -> None:
    common = {"service": "openai", "model": "o3", "run_id": "r", "group_id": "g", "tags": ["t"]}
    times = {
        "4": "2026-10-27T10:00:00Z",
        "8": "2026-10-27T23:59:59.999999Z",
        "16": BORDER,
        "32": "2026-10-28T09:00:00Z",
    }
    send(*({**common, "cost_usd": cost, "occurred_at": at} for cost, at in times.items()))
    if folded:
        fold_organization(organization_id=organization.pk, now=NOON)

    total = TOTALS[name]
    with time_machine.travel(datetime(2026, 11, 2, 12, tzinfo=UTC), tick=False):
        assert [total(api, *window) for window in (BEFORE, AFTER, WHOLE)] == [12, 48, 60]
        assert total(api, BEFORE[0], "2026-10-27T23:59:59Z") == 12  # the form of inclusive ends
        assert total(api, "2026-10-27", "2026-10-27") == 12


@pytest.mark.usefixtures("whole_history")
@pytest.mark.parametrize("text", ["2026-W44", "2026-W44-1", "2026-301", "20261028", "2026-10-28T24:00"])
def test_what_is_no_date_is_refused_everywhere(api: APIClient, organization: Organization, text: str) -> None:
    window = {"start_date": text, "end_date": text}
    for path in ("/usage/summary", "/usage/events", "/costs/runs"):
        assert api.get(path, window).status_code == 422, path
    for path in ("/spend/logs", "/spend/tags", "/global/activity"):
        assert api.get(path, window).status_code == 400, path
    for path in ("/system/pricing", "/system/groups", "/system/export"):
        assert api.post(path, window, format="json").status_code == 422, path
    bodies: dict[str, dict[str, Any]] = {
        "credentials": {"name": "e", "expires_at": text},
        "limits": {"scope": "organization", "window": "lifetime", "amount_usd": "1", "ends_at": text},
        "prices": {"model": "m", "request_usd": "1", "effective_from": text},
        "prices/reprice": {"start": text, "end": text},
    }
    for path, body in bodies.items():
        assert api.post(f"{PATH}/{path}", body, format="json").status_code == 422, path
    assert api.get(f"{PATH}/audit", {"since": text}).status_code == 422
    assert api.get(f"{PATH}/prices", {"active_at": text}).status_code == 422


@pytest.mark.parametrize(
    ("zone", "now"),
    [
        ("UTC", datetime(2026, 10, 20, 12, tzinfo=UTC)),
        # The next month begins within the hour in UTC, and not in the other zones.
        *(
            (zone, datetime(2026, 10, 31, 23, 30, tzinfo=UTC))
            for zone in ("UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
        ),
        # The next day begins within the hour; clocks are set back within the hour.
        ("America/New_York", datetime(2026, 11, 1, 3, 40, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 5, 50, tzinfo=UTC)),
        ("Asia/Kolkata", datetime(2026, 10, 20, 18, tzinfo=UTC)),
        # Clocks are set forward within the hour.
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 10, tzinfo=UTC)),
    ],
)
def test_today_seven_days_and_limits_agree_also_about_events_that_are_ahead(
    api: APIClient, organization: Organization, send: Send, zone: str, now: datetime
) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone=zone, plan="enterprise")
    windows = {"calendar_day": "today_usd", "rolling_7d": "rolling_7d_usd", "calendar_month": "month_to_date_usd"}
    for window in windows:
        post(api, "limits", scope="organization", window=window, amount_usd="1000")
    ages = (timedelta(days=7), timedelta(days=7, microseconds=-1), timedelta(hours=1), timedelta(), timedelta(hours=-1))
    for number, age in enumerate((*ages, timedelta(minutes=-50))):
        send({"kind": "compute", "cost_usd": str(2**number), "occurred_at": iso(now - age)}, now=now)

    with time_machine.travel(now, tick=False):
        summary = api.get("/usage/summary").json()["spend"]
        own = api.get("/usage/own").json()["spend"]
        spent = {limit["window"]: limit["spent_usd"] for limit in api.get("/usage/limits").json()["limits"]}
    assert {window: summary[name] for window, name in windows.items()} == {window: spent[window] for window in windows}
    assert Decimal(summary["rolling_7d_usd"]) == 2 + 4 + 8 + 16 + 32
    assert Decimal(summary["today_usd"]) <= Decimal(summary["rolling_7d_usd"])
    assert own.keys() == summary.keys()
