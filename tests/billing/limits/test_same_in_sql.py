"""What the SQL functions of limits repeat is the same as in Python: the scopes of a call, and what fits a limit."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import connection
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from psycopg import sql

from billing.ingest.services import ingest
from billing.ingest.types import ParsedBatch, ParsedEvent, UsageEventInput
from billing.limits.balances import read_balances, rule_parameters
from billing.limits.conditions import (
    MAX_CONDITIONS,
    SHARED_SCOPES,
    Condition,
    array_literal,
    compile_conditions,
)
from billing.limits.evaluate import fits_at
from billing.limits.reserve import try_reserve
from billing.limits.types import Dimensions, ManualOverride, Rule
from billing.models import Authorization
from billing.rollups.definitions import SCOPES_OF_EVENT
from billing.types import LimitAction, LimitScope, LimitUnit, LimitWindow, OverrideKind
from costtrack.ids import new_id
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.profiles import examples

NOW = datetime(2026, 11, 2, 12, 34, 56, tzinfo=UTC)
SCOPES = sql.SQL("SELECT event_scope.scope, event_scope.value FROM billing_authorization AS event {}").format(
    sql.SQL(SCOPES_OF_EVENT)
)
texts = st.sampled_from(("", "a", "b"))
calls = st.fixed_dictionaries(
    {field.name: texts for field in fields(Dimensions) if field.name not in ("credential_id", "tags")}
)
tags = st.lists(st.sampled_from(("a", "b", "c", "d", "e", "f")), unique=True)
units = st.sampled_from(LimitUnit)
amounts = st.sampled_from(("0", "0.000000000000000000000001", "0.5", "1", "1.5"))
scopes = st.sampled_from(sorted(set(LimitScope) - {LimitScope.CREDENTIAL, LimitScope.ORGANIZATION}))
values = st.sampled_from(("a", "b", "c", "d", "e", "f"))
defaults = st.sampled_from(("", "a"))
patterns = st.sampled_from(("a*", "*b", "*"))
conditions = st.lists(
    st.one_of(
        st.just(Condition(LimitScope.ORGANIZATION)),
        st.tuples(scopes, values, defaults).map(Condition._make),
        values.map(lambda tag: Condition(LimitScope.TAG, tag)),
        patterns.map(lambda pattern: Condition(LimitScope.MODEL, pattern)),
    ),
    min_size=1,
    max_size=MAX_CONDITIONS,
    unique_by=lambda condition: condition.scope,
)
overrides = st.sampled_from((None, OverrideKind.PAUSE, OverrideKind.OPEN))


class SameInSql(TestCase):
    @examples(20)
    @given(call=calls, tags=tags, keys=st.integers(0, 1))
    def test_the_scopes_of_a_call(self, call: dict[str, str], tags: list[str], keys: int) -> None:
        organization = Organization.objects.create(slug="acme", name="Acme")
        credential_id = make_key(organization, Scope.USAGE_WRITE).credential.pk if keys else None
        dimensions = Dimensions(credential_id=credential_id, tags=tuple(tags), **call)
        _authorization(organization, "1", dimensions).save(force_insert=True)
        expected = {(scope.value, value) for scope in SHARED_SCOPES for value in dimensions.values(scope)}

        with connection.cursor() as cursor:
            cursor.execute(SCOPES)
            # Forecasts read rows of teams, whose limits have rows of their own.
            assert sorted(cursor.fetchall()) == sorted(expected | {("team", name) for name in [call["team"]] if name})
        rules = [_rule("1", scope, value) for scope in SHARED_SCOPES for value in ("", "a", "b", str(credential_id))]
        for rule, balance in zip(rules, read_balances(organization=organization, rules=rules, now=NOW), strict=True):
            is_covered = (rule.scope.value, rule.value) in expected
            if rule.scope is LimitScope.ORGANIZATION or rule.value:  # a limit of a value never has the empty one
                assert (balance.reserved_usd == 1) is (is_covered or rule.scope is LimitScope.ORGANIZATION), rule

    @examples(20)
    @given(
        reserved=st.lists(st.tuples(calls, tags), max_size=4),
        limits=st.lists(st.tuples(conditions, units), min_size=1, max_size=8),
    )
    def test_what_is_reserved_under_limits_with_conditions(
        self, reserved: list[tuple[dict[str, str], list[str]]], limits: list[tuple[list[Condition], LimitUnit]]
    ) -> None:
        organization = Organization.objects.create(slug="acme", name="Acme")
        open_calls = [Dimensions(credential_id=None, tags=tuple(labels), **call) for call, labels in reserved]
        for index, call in enumerate(open_calls):
            _authorization(organization, str(index + 1), call, tokens=10**index).save(force_insert=True)
        counts = [
            {LimitUnit.USD: index + 1, LimitUnit.TOKENS: 10**index, LimitUnit.REQUESTS: 1}
            for index in range(len(open_calls))
        ]
        expected = [
            sum(count[unit] for call, count in zip(open_calls, counts, strict=True) if all(map(_meets(call), named)))
            for named, unit in limits
        ]
        rules = [
            replace(_rule("1"), own_rows="#1", conditions=array_literal(compile_conditions(named)), unit=unit)
            for named, unit in limits
        ]

        balances = read_balances(organization=organization, rules=rules, now=NOW)
        assert [balance.reserved_usd for balance in balances] == expected
        assert _reserved(organization, rules) == expected

    @examples(40)
    @example("1", ["0.5"], ["0.5"], "0.000000000000000000000001", LimitAction.PAUSE, None)
    @example("1.5", ["0.5"], ["0.5"], "0.5", LimitAction.PAUSE, None)
    @given(
        amount=amounts,
        spent=st.lists(amounts, max_size=2),
        reserved=st.lists(amounts, max_size=3),
        usd=amounts,
        action=st.sampled_from(LimitAction),
        override=overrides,
    )
    def test_whether_an_amount_fits(
        self,
        amount: str,
        spent: list[str],
        reserved: list[str],
        usd: str,
        action: LimitAction,
        override: OverrideKind | None,
    ) -> None:
        organization = Organization.objects.create(slug="acme", name="Acme")
        _send(organization, spent)
        for reserved_usd in reserved:
            _authorization(organization, reserved_usd).save(force_insert=True)
        manual = None if override is None else ManualOverride(override, None, "A test.")
        rule = _rule(amount, action=action, manual=manual)
        (balance,) = read_balances(organization=organization, rules=[rule], now=NOW)
        at = fits_at(rule, balance, usd=Decimal(usd), calendar=organization.calendar, now=NOW)

        result = try_reserve(
            organization=organization, rules=[rule], revision=0, authorization=_authorization(organization, usd)
        )

        assert result.is_certain
        assert result.is_granted is (at == NOW)


def _meets(call: Dimensions) -> Callable[[Condition], bool]:
    def is_met(condition: Condition) -> bool:
        is_default = bool(condition.default) and condition.default == condition.value
        return condition.is_met_by(call) or (is_default and not call.values(condition.scope))

    return is_met


def _reserved(organization: Organization, rules: list[Rule]) -> list[Decimal]:
    """Return what is reserved, as authorizations read it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reserved_usd FROM billing_balances(%s, %s::text[], %s::text[], %s::text[], %s::text[],"
            " %s::timestamptz[], %s::numeric[], %s) ORDER BY ordinal",
            [organization.pk, *rule_parameters(rules, [None] * len(rules)), NOW],
        )
        return [row[0] for row in cursor.fetchall()]


def _send(organization: Organization, costs: list[str]) -> None:
    parsed = ParsedBatch([ParsedEvent(0, UsageEventInput(cost_usd=Decimal(cost))) for cost in costs], errors=[])
    ingest(organization=organization, credential=None, format="json", parsed=parsed, now=NOW)


def _authorization(
    organization: Organization, usd: str, call: Dimensions | None = None, tokens: int = 0
) -> Authorization:
    names = {field.name: getattr(call or Dimensions(), field.name) for field in fields(Dimensions)}
    return Authorization(
        id=new_id(NOW),
        organization=organization,
        amount_usd=Decimal(usd),
        tokens=tokens,
        created_at=NOW,
        expires_at=NOW + timedelta(minutes=5),
        **{**names, "tags": list(names["tags"])},
    )


def _rule(
    usd: str,
    scope: LimitScope = LimitScope.ORGANIZATION,
    value: str = "",
    action: LimitAction = LimitAction.PAUSE,
    manual: ManualOverride | None = None,
) -> Rule:
    return Rule(
        limit_id=1,
        scope=scope,
        value=value,
        display_value=value,
        is_per_value=False,
        window=LimitWindow.LIFETIME,
        amount_usd=Decimal(usd),
        base_amount_usd=Decimal(usd),
        action=action,
        thresholds=(100,),
        manual_override=manual,
    )
