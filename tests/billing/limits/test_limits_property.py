"""Random limits, calls and credits, compared with a plain model: spellings, missing dimensions, groups, combinations,
units and windows; and `limits verify` finds nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from billing.ledger.credits import NewCredit, create_credit
from billing.limits.authorize import AuthorizationRequest, authorize
from billing.limits.estimate import identify_call
from billing.limits.refusal import SpendLimitExceededError
from billing.limits.services import create_limit
from billing.limits.types import Dimensions
from billing.limits.validation import LimitInput
from billing.limits.verify import verify_limits
from billing.models import Authorization
from billing.rollups.fold import fold
from billing.types import LimitScope, LimitUnit, LimitWindow, MissingValue
from costtrack.clock import HOUR, MICROSECOND
from organizations.models import Organization, User
from organizations.principals import Principal
from tests.profiles import examples
from tests.usage import NOW, send_events

SPELLINGS = {
    "gpt-4o": "gpt-4o",
    "GPT-4o": "gpt-4o",
    "openai/gpt-4o-2024-08-06": "gpt-4o",
    "gpt-4o-mini": "gpt-4o-mini",
    "Acme-1": "acme-1",
    "": "",
}
VALUES = {
    LimitScope.USER: ("user_ref", ("", "ada", "brin")),
    LimitScope.TEAM: ("team", ("", "core")),
    LimitScope.END_USER: ("end_user", ("", "c-1")),
    LimitScope.AGENT: ("agent_id", ("", "a-1")),
    LimitScope.PROVIDER: ("service", ("", "openai")),
    LimitScope.MODEL: ("model", tuple(SPELLINGS)),
    LimitScope.TAG: ("tags", ((), ("x",), ("x", "y"))),
}
AGES = [timedelta(), timedelta(hours=23, minutes=59), timedelta(hours=24), timedelta(days=8), timedelta(days=40)]
WINDOWS = {
    (LimitWindow.LIFETIME, 1): datetime(2000, 1, 1, tzinfo=UTC),
    (LimitWindow.ROLLING_24H, 1): NOW - timedelta(hours=24) + MICROSECOND,
    (LimitWindow.ROLLING_7D, 1): NOW - timedelta(days=7) + MICROSECOND,
    (LimitWindow.ROLLING_30D, 1): NOW - timedelta(days=30) + MICROSECOND,
    (LimitWindow.CALENDAR_DAY, 1): datetime(2026, 11, 2, tzinfo=UTC),
    (LimitWindow.CALENDAR_WEEK, 1): datetime(2026, 11, 2, tzinfo=UTC),
    (LimitWindow.CALENDAR_MONTH, 1): datetime(2026, 11, 1, tzinfo=UTC),
    (LimitWindow.CALENDAR_MONTH, 31): datetime(2026, 10, 31, tzinfo=UTC),
    (LimitWindow.CALENDAR_QUARTER, 1): datetime(2026, 10, 1, tzinfo=UTC),
}
"""When each window begins that contains NOW, with the first day of months."""

_LIMITED = {"OpenAI/GPT-4o": "gpt-4o", "OpenAI": "openai"}

calls = st.fixed_dictionaries(
    {
        "dimensions": st.fixed_dictionaries({field: st.sampled_from(values) for field, values in VALUES.values()}),
        "respelled": st.sampled_from(tuple(SPELLINGS)),
        "left_out": st.sets(st.sampled_from([field for field, _ in VALUES.values()])),
        "cost": st.sampled_from(("0.25", "0.5", "1")),
        "tokens": st.sampled_from((0, 10, 30)),
        "age": st.sampled_from(AGES),
        "kind": st.sampled_from(("settled", "open", "unauthorized", "credit", "fold")),
    }
)
conditions = st.lists(
    st.one_of(
        st.tuples(st.just(LimitScope.USER), st.sampled_from(("", "ada"))),
        st.tuples(st.just(LimitScope.TEAM), st.sampled_from(("", "core"))),
        st.tuples(st.just(LimitScope.END_USER), st.sampled_from(("", "c-1"))),
        st.tuples(st.just(LimitScope.AGENT), st.sampled_from(("", "a-1"))),
        st.tuples(st.just(LimitScope.PROVIDER), st.sampled_from(("", "OpenAI"))),
        st.tuples(st.just(LimitScope.MODEL), st.sampled_from(("", "OpenAI/GPT-4o", "gpt-*"))),
        st.tuples(st.just(LimitScope.TAG), st.sampled_from(("", "x"))),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda condition: condition[0],
)
limits = st.fixed_dictionaries(
    {
        "conditions": conditions,
        "window": st.sampled_from(tuple(WINDOWS)),
        "unit": st.sampled_from(LimitUnit),
        "amount": st.sampled_from((0, 1, 2, 20)),
        "default": st.sampled_from(("", "unnamed")),
        "is_group": st.booleans(),
    }
)


@dataclass
class Use:
    """What a call has used or reserved."""

    dimensions: dict[str, Any]
    at: datetime
    amounts: dict[LimitUnit, Decimal]
    is_spend: bool


@dataclass
class PlainLimit:
    """A limit that adds up everything for each question."""

    conditions: Sequence[tuple[LimitScope, str]]
    start: datetime
    unit: LimitUnit
    amount: Decimal
    default: str
    members: tuple[str, ...]
    uses: list[Use] = field(default_factory=list)

    def keys(self, call: dict[str, Any]) -> Iterator[tuple[str, ...]]:
        parts = []
        for index, (scope, value) in enumerate(self.conditions):
            own = call[VALUES[scope][0]]
            values = own if isinstance(own, tuple) else (own,) * bool(own)
            if not value:
                values = values or ((self.default,) if self.default and index == 0 else ())
                parts.append([item for item in values if index or not self.members or item in self.members])
            elif value == "gpt-*":
                parts.append(["*" for item in values if item.startswith("gpt-")])
            else:
                parts.append(["=" for item in values if item == _LIMITED.get(value, value)])
        return product(*parts)

    def allows(self, call: dict[str, Any], amounts: dict[LimitUnit, Decimal]) -> bool:
        for key in self.keys(call):
            counted = [use for use in self.uses if key in self.keys(use.dimensions) and self._is_in_window(use)]
            spent = sum((use.amounts[self.unit] for use in counted if use.is_spend), Decimal(0))
            reserved = sum((use.amounts[self.unit] for use in counted if not use.is_spend), Decimal(0))
            if spent >= self.amount or spent + reserved + amounts[self.unit] > self.amount:
                return False
        return True

    def _is_in_window(self, use: Use) -> bool:
        return not use.is_spend or use.at >= self.start


class RandomLimits(TestCase):
    @examples(25)
    @given(drawn_limits=st.lists(limits, min_size=1, max_size=4), drawn_calls=st.lists(calls, max_size=14))
    def test_every_decision_is_that_of_a_plain_model(
        self, drawn_limits: list[dict[str, Any]], drawn_calls: list[dict[str, Any]]
    ) -> None:
        organization = Organization.objects.create(slug="acme", name="Acme")
        uses: list[Use] = []
        plain = []
        seen: set[tuple[Any, ...]] = set()
        for drawn in drawn_limits:
            limit = _set(organization, drawn, seen)
            if limit is not None:
                limit.uses = uses
                plain.append(limit)
        for call in drawn_calls:
            _make_call(organization, call, plain, uses)
        assert verify_limits(organization=organization, now=NOW).differences == ()
        fold(now=NOW)
        assert verify_limits(organization=organization, now=NOW).differences == ()


def _set(organization: Organization, drawn: dict[str, Any], seen: set[tuple[Any, ...]]) -> PlainLimit | None:
    (first, value), *further = drawn["conditions"]
    default = drawn["default"] if not value and first in (LimitScope.USER, LimitScope.TEAM) else ""
    members = ("ada",) if drawn["is_group"] and first is LimitScope.USER and not value else ()
    key = (tuple(drawn["conditions"]), drawn["window"], drawn["unit"], drawn["amount"], default, members)
    if key in seen:
        return None
    seen.add(key)
    terms = LimitInput(
        scope=first,
        scope_value=value,
        further_scopes=tuple(scope for scope, _ in further),
        further_values=tuple(value for _, value in further),
        window=drawn["window"][0],
        month_day=drawn["window"][1],
        unit=drawn["unit"],
        amount_usd=Decimal(drawn["amount"]),
        missing=MissingValue.DEFAULT if default else MissingValue.ALLOW,
        default_value=default,
        members=members,
    )
    create_limit(
        organization=organization,
        limit_input=terms,
        actor=Principal(user=User(email="op@acme.example", is_superuser=True)),
        now=NOW,
    )
    start = WINDOWS[drawn["window"]]
    return PlainLimit(drawn["conditions"], start, drawn["unit"], Decimal(drawn["amount"]), default, members)


def _make_call(organization: Organization, call: dict[str, Any], plain: Sequence[PlainLimit], uses: list[Use]) -> None:
    if call["kind"] == "fold":
        fold(now=NOW)
        return
    dimensions = call["dimensions"]
    known = _known(dimensions)
    amounts = {
        LimitUnit.USD: Decimal(call["cost"]),
        LimitUnit.TOKENS: Decimal(call["tokens"]),
        LimitUnit.REQUESTS: Decimal(1),
    }
    at = NOW - call["age"]
    if call["kind"] == "credit":
        credit = NewCredit(
            amount_usd=Decimal(call["cost"]), reason="A test.", start=at, end=at + HOUR, dimensions=_sent(dimensions)
        )
        create_credit(organization=organization, credit=credit, actor="op@acme.example", now=NOW)
        given_back = {unit: -amounts[unit] if unit is LimitUnit.USD else Decimal(0) for unit in LimitUnit}
        uses.append(Use(known, at, given_back, is_spend=True))
        return
    event = {"cost_usd": call["cost"], "input_tokens": call["tokens"], "occurred_at": at.isoformat()}
    if call["kind"] == "unauthorized":
        send_events(organization, {**event, **_sent(dimensions)})
        uses.append(Use(known, at, amounts, is_spend=True))
        return
    authorization = _authorize(organization, call)
    assert (authorization is not None) == all(limit.allows(known, amounts) for limit in plain)
    if authorization is None:
        return
    if call["kind"] == "open":
        uses.append(Use(known, NOW, amounts, is_spend=False))
        return
    respelled = call["respelled"]
    if SPELLINGS[respelled] == known["model"]:
        dimensions = {**dimensions, "model": respelled}
    left = {name: value for name, value in dimensions.items() if name not in call["left_out"]}
    send_events(organization, {**event, **_sent(left), "authorization_id": str(authorization.pk)})
    uses.append(Use(known, at, amounts, is_spend=True))


def _known(dimensions: dict[str, Any]) -> dict[str, Any]:
    """Return the dimensions as limits know them."""
    model = SPELLINGS[dimensions["model"]]
    return {**dimensions, "model": model, "service": "openai" if model.startswith("gpt-") else dimensions["service"]}


def _authorize(organization: Organization, call: dict[str, Any]) -> Authorization | None:
    dimensions = identify_call(organization.pk, Dimensions(**call["dimensions"]), now=NOW)
    request = AuthorizationRequest(
        dimensions=dimensions, amount_usd=Decimal(call["cost"]), ttl=timedelta(minutes=10), tokens=call["tokens"]
    )
    try:
        return authorize(organization=organization, credential=None, request=request, now=NOW).authorization
    except SpendLimitExceededError:
        return None


def _sent(dimensions: dict[str, Any]) -> dict[str, Any]:
    names = {"user_ref": "user_id"}
    return {names.get(name, name): value for name, value in dimensions.items() if value}
