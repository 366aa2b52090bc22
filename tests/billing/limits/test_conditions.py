"""What limits apply to: every dimension, several conditions, patterns, members, units, windows, and missing values."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from rest_framework.test import APIClient

from billing.limits.authorize import DimensionRequiredError
from billing.limits.cache import limit_set
from billing.limits.conditions import Condition, array_literal, joined_value, match_of, matches
from billing.limits.refusal import SpendLimitExceededError, describe_limit, limit_details
from billing.limits.services import change_limit, create_limit, pause_limit, remove_limit
from billing.limits.status import LimitFilter, PerValueStatus, list_limits
from billing.limits.types import Dimensions, LimitStatus
from billing.limits.validation import LimitInput
from billing.limits.verify import verify_limits
from billing.models import SpendLimit, UsageEvent
from billing.models.rollups import ScopeHour, ScopeTotal
from billing.rollups.fold import fold
from billing.rollups.verify import verify
from billing.types import LimitScope, LimitUnit, LimitWindow, MissingValue
from costtrack.calendar import Calendar
from costtrack.errors import InvalidError
from organizations.models import Organization, User
from organizations.principals import Principal
from tests.conftest import Key
from tests.limits import take
from tests.usage import NOW, Send, send_events

UTC_ZONE = ZoneInfo("UTC")
Make = Callable[..., SpendLimit]


@pytest.fixture(autouse=True)
def _noon() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def make(organization: Organization, owner: User) -> Make:
    """Create a limit of one US dollar for all time."""

    def _make(scope: LimitScope, value: str = "", **terms: Any) -> SpendLimit:
        given = {"window": LimitWindow.LIFETIME, "amount_usd": Decimal(1), **terms}
        limit_input = LimitInput(scope=scope, scope_value=value, **given)
        return create_limit(organization=organization, limit_input=limit_input, actor=Principal(user=owner), now=NOW)

    return _make


def is_refused(organization: Organization, **call: Any) -> bool:
    try:
        take(organization, "0.25", now=NOW, **call)
    except SpendLimitExceededError:
        return True
    return False


def spent(organization: Organization, limit: SpendLimit) -> Decimal | dict[str, Decimal]:
    """Return what was spent under a limit, by value for a per-value limit."""
    for status in list_limits(organization=organization, filters=LimitFilter(), now=NOW):
        if status.rule.limit_id == limit.pk:
            if isinstance(status, LimitStatus):
                return status.evaluation.spent_usd
            return {value.rule.display_value: value.evaluation.spent_usd for value in status.values}
    raise AssertionError


def assert_verified(organization: Organization) -> None:
    assert verify_limits(organization=organization, now=NOW).differences == ()
    fold(now=NOW)
    assert verify_limits(organization=organization, now=NOW).differences == ()
    assert not [check for check in verify(organization_id=organization.pk, now=NOW) if check.count]


DIMENSIONS = {
    LimitScope.END_USER: ("end_user", "end_user", "customer-1"),
    LimitScope.TEAM: ("team", "team", "core"),
    LimitScope.PROVIDER: ("service", "provider", "openai"),
    LimitScope.AGENT: ("agent_id", "agent_id", "a-1"),
    LimitScope.CAPABILITY: ("capability", "capability", "chat"),
    LimitScope.SENT_MODEL: ("model", "sent_model", "GPT-4o"),
}


@pytest.mark.parametrize("scope", DIMENSIONS)
@pytest.mark.parametrize("kind", ["fixed", "each"])
def test_every_dimension_has_limits(
    organization: Organization, make: Make, send: Send, scope: LimitScope, kind: str
) -> None:
    field, dimension, value = DIMENSIONS[scope]
    send({field: value, "cost_usd": "0.5"})
    fold(now=NOW)
    limit = make(scope, value if kind == "fixed" else "")
    send({field: value, "cost_usd": "0.375"}, {field: "other", "cost_usd": "0.5"})

    call = {dimension: value} if scope is not LimitScope.SENT_MODEL else {"model": "gpt-4o", "sent_model": value}
    assert is_refused(organization, **call)
    assert not is_refused(organization, **({**call, dimension: "another"}))
    assert spent(organization, limit) == (Decimal("0.875") if kind == "fixed" else {value: Decimal("0.875")})
    assert_verified(organization)
    assert spent(organization, limit) == (Decimal("0.875") if kind == "fixed" else {value: Decimal("0.875")})


def test_the_environment_is_that_of_the_credential(
    organization: Organization, make: Make, api: APIClient, key: Key
) -> None:
    make(LimitScope.ENVIRONMENT, key.credential.environment)
    api.post("/usage/events", {"cost_usd": "0.875", "model": "m"})
    assert UsageEvent.objects.get().environment == key.credential.environment
    assert api.post("/usage/authorizations", {"estimated_cost_usd": "0.25"}).status_code == 429
    assert_verified(organization)


def test_a_user_and_a_model_together_have_a_limit(organization: Organization, make: Make, send: Send) -> None:
    send({"user_id": "ada", "model": "gpt-4o", "cost_usd": "0.5"})
    fold(now=NOW)
    limit = make(LimitScope.USER, "", further_scopes=(LimitScope.MODEL,), further_values=("openai/GPT-4o",))
    both = make(LimitScope.USER, "", further_scopes=(LimitScope.MODEL,), further_values=("",))
    send({"user_id": "ada", "model": "gpt-4o-2024-08-06", "cost_usd": "0.375"}, {"user_id": "ada", "cost_usd": "7"})

    assert is_refused(organization, user_ref="ada", model="gpt-4o")
    assert not is_refused(organization, user_ref="ada", model="gpt-4o-mini")
    assert not is_refused(organization, user_ref="brin", model="gpt-4o")
    assert not is_refused(organization, user_ref="ada")
    assert spent(organization, limit) == {"ada": Decimal("0.875")}
    assert spent(organization, both) == {"ada x gpt-4o": Decimal("0.875")}
    assert_verified(organization)


def test_an_override_names_the_values_of_all_conditions(organization: Organization, make: Make, owner: User) -> None:
    limit = make(LimitScope.USER, "", further_scopes=(LimitScope.MODEL,), further_values=("",))
    pause_limit(
        organization=organization,
        limit=limit,
        value="ada x GPT-4o",
        reason="r",
        ends_at=None,
        actor=Principal(user=owner),
        now=NOW,
    )
    assert is_refused(organization, user_ref="ada", model="gpt-4o")
    assert not is_refused(organization, user_ref="ada", model="gpt-4o-mini")


def test_a_family_of_models_has_a_limit(organization: Organization, make: Make, send: Send) -> None:
    limit = make(LimitScope.MODEL, "Claude-*")
    send({"model": "claude-sonnet-4-20250514", "cost_usd": "0.5"}, {"model": "claude-opus-4-1", "cost_usd": "0.375"})
    assert is_refused(organization, model="claude-haiku-4-5")
    assert not is_refused(organization, model="gpt-4o")
    assert spent(organization, limit) == Decimal("0.875")
    assert_verified(organization)


def test_a_group_of_users_has_a_limit_for_each_member_with_other_amounts(
    organization: Organization, make: Make, send: Send, owner: User
) -> None:
    limit = make(LimitScope.USER, members=("ada", "brin"), member_amounts={"brin": "2"})
    send(*({"user_id": user, "cost_usd": "0.875"} for user in ("ada", "brin", "carl")))
    assert is_refused(organization, user_ref="ada")
    assert not is_refused(organization, user_ref="brin")
    assert not is_refused(organization, user_ref="carl")
    change_limit(
        organization=organization,
        limit=limit,
        changes={"members": ("ada", "brin", "carl"), "member_amounts": {"ada": "3"}},
        actor=Principal(user=owner),
        now=NOW,
    )
    assert not is_refused(organization, user_ref="ada")
    assert is_refused(organization, user_ref="carl")
    assert_verified(organization)


@pytest.mark.parametrize(("unit", "amount"), [(LimitUnit.TOKENS, "100"), (LimitUnit.REQUESTS, "3")])
def test_tokens_and_requests_have_limits(
    organization: Organization, make: Make, api: APIClient, send: Send, unit: LimitUnit, amount: str
) -> None:
    counts = {"input_tokens": 10, "cache_read_tokens": 5, "cache_creation_tokens": 3, "output_tokens": 12}
    send({"model": "m", **counts})
    fold(now=NOW)
    limit = make(LimitScope.ORGANIZATION, unit=unit, amount_usd=Decimal(amount), window=LimitWindow.CALENDAR_DAY)
    send({"model": "m", **counts})
    assert spent(organization, limit) == (60 if unit is LimitUnit.TOKENS else 2)

    ask = {"model": "gpt-4o", "input_tokens": 20, "max_tokens": 20, "estimated_cost_usd": "0"}
    assert api.post("/usage/authorizations", {"estimated_cost_usd": "5"}).status_code == 201
    refused = api.post("/usage/authorizations", {**ask, "input_tokens": 21})
    assert refused.status_code == 429
    assert refused.json()["limit"]["unit"] == unit.value
    assert "$" not in refused.json()["error"]
    assert_verified(organization)


def test_a_limit_of_zero_refuses_every_call_that_costs_anything(organization: Organization, make: Make) -> None:
    make(LimitScope.USER, "ada", amount_usd=Decimal(0))
    assert is_refused(organization, user_ref="ada")
    with pytest.raises(SpendLimitExceededError):
        take(organization, "0.000000000001", now=NOW, user_ref="ada")
    assert not is_refused(organization, user_ref="brin")


def test_calls_without_a_user_are_refused_or_counted_together(
    organization: Organization, make: Make, api: APIClient, send: Send, owner: User
) -> None:
    limit = make(LimitScope.USER, missing=MissingValue.REFUSE, amount_usd=Decimal(100))
    with pytest.raises(DimensionRequiredError) as missing:
        take(organization, "0.25", now=NOW, team="core")
    assert (missing.value.param, missing.value.status) == ("user_id", 422)
    assert api.get("/usage/access").json()["code"] == "dimension_required"
    assert not is_refused(organization, user_ref="ada")
    remove_limit(organization=organization, limit=limit, actor=Principal(user=owner), now=NOW)
    assert not is_refused(organization)

    default = make(LimitScope.USER, missing=MissingValue.DEFAULT, default_value="unknown")
    send({"cost_usd": "0.5"}, {"user_id": "unknown", "cost_usd": "0.375"}, {"user_id": "ada", "cost_usd": "0.25"})
    assert is_refused(organization)
    assert not is_refused(organization, user_ref="ada")
    assert spent(organization, default) == {"unknown": Decimal("0.875")}
    assert_verified(organization)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("without_user", [{}, {"user_id": ""}, {"user_id": "  "}, {"user_id": "\u00a0"}])
def test_no_call_escapes_the_limits_of_users_by_leaving_the_user_out(
    organization: Organization, api: APIClient, without_user: dict[str, str]
) -> None:
    terms = {"scope": "user", "window": "lifetime", "amount_usd": "1", "missing": "refuse"}
    assert api.post(f"/organizations/{organization.slug}/limits", terms).status_code == 201
    call = {"estimated_cost_usd": "0.25"}

    refused = api.post("/usage/authorizations", {**call, **without_user})
    assert (refused.status_code, refused.json()["code"]) == (422, "dimension_required")
    assert list(refused.json()["fields"]) == ["user_id"]
    assert not api.get("/usage/access", without_user).json()["allowed"]
    assert api.post("/usage/authorizations", {**call, "user_id": "ada"}).status_code == 201
    assert (
        api.post("/usage/authorizations", {**call, "user_id": " ada ", "estimated_cost_usd": "0.8"}).status_code == 429
    )


def test_rows_of_a_removed_limit_are_deleted(organization: Organization, make: Make, send: Send, owner: User) -> None:
    limit = make(LimitScope.TEAM)
    send({"team": "core", "cost_usd": "1"})
    fold(now=NOW)
    hours, totals = ScopeHour.objects.filter(scope=f"#{limit.pk}"), ScopeTotal.objects.filter(scope=f"#{limit.pk}")
    assert (hours.count(), totals.count()) == (1, 1)
    remove_limit(organization=organization, limit=limit, actor=Principal(user=owner), now=NOW)
    assert (hours.count(), totals.count()) == (0, 0)
    assert_verified(organization)


@pytest.mark.parametrize(
    ("terms", "param"),
    [
        ({"further_scopes": (LimitScope.USER,), "further_values": ("",)}, "conditions"),
        ({"further_scopes": (LimitScope.ORGANIZATION,), "further_values": ("",)}, "conditions"),
        ({"further_scopes": (LimitScope.TEAM,) * 3, "further_values": ("",) * 3}, "conditions"),
        ({"member_amounts": {"ada": "-1"}}, "member_amounts"),
        ({"members": ("ada",), "member_amounts": {"brin": "1"}}, "member_amounts"),
        ({"missing": MissingValue.DEFAULT}, "default_value"),
        ({"default_value": "x"}, "default_value"),
        ({"unit": LimitUnit.TOKENS, "amount_usd": Decimal("1.5")}, "amount_usd"),
        ({"month_day": 5}, "month_day"),
        ({"window": LimitWindow.CALENDAR_MONTH, "month_day": 32}, "month_day"),
        ({"window": LimitWindow.FIXED_PERIOD, "starts_at": NOW}, "ends_at"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Make, terms: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidError) as invalid:
        make(LimitScope.USER, **terms)
    assert invalid.value.param == param


def test_limits_with_conditions_are_created_by_the_api(api: APIClient, organization: Organization) -> None:
    url = f"/organizations/{organization.slug}/limits"
    body = {
        "scope": "user",
        "conditions": [{"scope": "model", "scope_value": "GPT-4o"}],
        "missing": "refuse",
        "members": ["ada"],
        "member_amounts": {"ada": "5"},
        "window": "calendar_month",
        "month_day": 15,
        "unit": "tokens",
        "amount_usd": "1000",
    }
    created = api.post(url, body)
    assert created.status_code == 201, created.content
    answer = created.json()
    assert {name: answer[name] for name in body} == {
        **body,
        "conditions": [{"scope": "model", "scope_value": "gpt-4o"}],
    }
    changed = api.patch(f"{url}/{answer['id']}", {"members": [], "member_amounts": {}, "month_day": 15})
    assert (changed.status_code, changed.json()["members"]) == (200, [])
    assert api.patch(f"{url}/{answer['id']}", {"unit": "usd"}).status_code == 422
    assert api.patch(f"{url}/{answer['id']}", {"conditions": []}).status_code == 422
    (state,) = (item for item in api.get("/usage/limits").json()["limits"] if item["id"] == answer["id"])
    assert (state["unit"], state["conditions"]) == ("tokens", [{"scope": "model", "scope_value": "gpt-4o"}])


def at(day: int, month: int = 2, year: int = 2027, hour: int = 12) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "first_day", "start", "end"),
    [
        (at(14), 15, at(15, 1, hour=0), at(15, hour=0)),
        (at(15), 15, at(15, hour=0), at(15, 3, hour=0)),
        (at(27), 31, at(31, 1, hour=0), at(28, hour=0)),
        (at(28), 31, at(28, hour=0), at(31, 3, hour=0)),
        (at(30, 3), 31, at(28, hour=0), at(31, 3, hour=0)),
        (at(29, 2, 2028), 30, at(29, 2, 2028, 0), at(30, 3, 2028, 0)),
        (at(3, 1), 5, at(5, 12, 2026, 0), at(5, 1, hour=0)),
    ],
)
def test_months_begin_on_a_day_or_the_last_one(now: datetime, first_day: int, start: datetime, end: datetime) -> None:
    assert Calendar(UTC_ZONE).months(1, now, first_day=first_day) == (start, end)


def test_quarters_begin_in_january() -> None:
    assert Calendar(UTC_ZONE).months(3, at(30, 6)) == (at(1, 4, hour=0), at(1, 7, hour=0))


@pytest.mark.parametrize(
    ("window", "age", "counts"),
    [
        (LimitWindow.ROLLING_24H, timedelta(hours=24), False),
        (LimitWindow.ROLLING_24H, timedelta(hours=24, microseconds=-1), True),
        (LimitWindow.ROLLING_30D, timedelta(days=30), False),
        (LimitWindow.ROLLING_30D, timedelta(days=30, microseconds=-1), True),
        (LimitWindow.CALENDAR_QUARTER, timedelta(days=32), True),
        (LimitWindow.CALENDAR_QUARTER, timedelta(days=33), False),
    ],
)
def test_windows_count_what_is_in_them(
    organization: Organization, make: Make, send: Send, window: LimitWindow, age: timedelta, counts: Any
) -> None:
    limit = make(LimitScope.USER, "ada", window=window)
    send({"user_id": "ada", "cost_usd": "0.875", "occurred_at": (NOW - age).isoformat()})
    assert spent(organization, limit) == (Decimal("0.875") if counts else 0)
    assert is_refused(organization, user_ref="ada") == counts
    assert_verified(organization)
    assert spent(organization, limit) == (Decimal("0.875") if counts else 0)


def test_a_fixed_period_counts_from_its_start_to_its_end(organization: Organization, make: Make, send: Send) -> None:
    start, end = NOW - timedelta(days=3, minutes=20), NOW + timedelta(days=3)
    limit = make(LimitScope.USER, "ada", window=LimitWindow.FIXED_PERIOD, starts_at=start, ends_at=end)
    for age in (timedelta(days=3, minutes=20), timedelta(days=3, minutes=20, microseconds=1)):
        send({"user_id": "ada", "cost_usd": "0.875", "occurred_at": (NOW - age).isoformat()})
    assert spent(organization, limit) == Decimal("0.875")
    with pytest.raises(SpendLimitExceededError) as refused:
        take(organization, "0.25", now=NOW, user_ref="ada")
    assert refused.value.refusal.evaluation.span == (start, end)
    assert_verified(organization)


def test_long_values_of_several_conditions_fit() -> None:
    conditions = (Condition(LimitScope.USER), Condition(LimitScope.TEAM))
    (match,) = matches(conditions, Dimensions(user_ref="u" * 200, team="t" * 200))
    assert len(match.value) == 255
    assert match_of(conditions, match.value) is None
    assert match_of(conditions, joined_value(["ada", "core"])) is not None
    assert array_literal(["a\\b", 'c"d', None, "e,f"]) == '{"a\\\\b","c\\"d",NULL,"e,f"}'


def test_long_values_are_the_same_in_the_database(organization: Organization, make: Make) -> None:
    limit = make(LimitScope.USER, "", further_scopes=(LimitScope.TEAM,), further_values=("",))
    long = {"user_id": "ü" * 200, "team": "t" * 200, "cost_usd": "0.875"}
    send_events(organization, long)
    fold(now=NOW)
    assert is_refused(organization, user_ref="ü" * 200, team="t" * 200)
    value = ScopeTotal.objects.get(scope=f"#{limit.pk}").value
    assert value == joined_value(["ü" * 200, "t" * 200])


def test_values_over_a_threshold_are_listed(organization: Organization, make: Make, send: Send) -> None:
    make(LimitScope.TEAM)
    send({"team": "core", "cost_usd": "0.9"}, {"team": "other", "cost_usd": "0.1"})
    (status,) = list_limits(organization=organization, filters=LimitFilter(), now=NOW)
    assert isinstance(status, PerValueStatus)
    assert [value.rule.display_value for value in status.values] == ["core"]
    assert status.used == 2


@pytest.mark.parametrize(
    ("terms", "name", "details"),
    [
        ({"scope_value": "ada"}, "limit of user ada", ("ada", [])),
        ({}, "limit of user ada", ("ada", [])),
        ({"further": {"model": "gpt-4o"}}, "limit of user ada, model gpt-4o", ("ada", ["gpt-4o"])),
        ({"further": {"model": ""}}, "limit of user x model ada x gpt-4o", ("ada x gpt-4o", [""])),
        ({"scope_value": "ada", "further": {"model": ""}}, "limit of model gpt-4o, user ada", ("ada", ["gpt-4o"])),
        (
            {"scope_value": "ada", "further": {"model": "gpt-4o"}},
            "limit of user ada, model gpt-4o",
            ("ada", ["gpt-4o"]),
        ),
    ],
)
def test_a_limit_is_named_by_all_its_values(
    organization: Organization, make: Make, terms: dict[str, Any], name: str, details: tuple[str, list[str]]
) -> None:
    further = terms.pop("further", {})
    value = terms.pop("scope_value", "")
    make(
        LimitScope.USER,
        value,
        further_scopes=[LimitScope(scope) for scope in further],
        further_values=list(further.values()),
    )
    (rule,) = limit_set(organization).rules_for(Dimensions(user_ref="ada", model="gpt-4o"), now=NOW)
    shown = limit_details(rule)
    assert describe_limit(rule) == name
    assert (shown["scope_value"], [item["scope_value"] for item in shown.get("conditions", [])]) == details
