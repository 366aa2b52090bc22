"""What is spent and held is read twice: by a function in the database, which grants, and in detail, which explains.
Both say the same."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from billing.ingest import json_events
from billing.ingest.services import ingest
from billing.limits.balances import read_balances, rule_parameters, window_starts
from billing.limits.types import Rule
from billing.models import Authorization
from billing.rollups.fold import fold
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.ids import new_id
from organizations.models import Organization
from tests.profiles import examples

NOW = datetime(2026, 11, 2, 12, 34, 56, tzinfo=UTC)
ZONES = ("UTC", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York")
SCOPES = {
    LimitScope.ORGANIZATION: "",
    LimitScope.USER: "ada",
    LimitScope.TAG: "x",
    LimitScope.MODEL: "m",
    LimitScope.WORKFLOW: "w",
    LimitScope.RUN: "r",
    LimitScope.SESSION: "s",
}
ages = st.one_of(
    st.integers(-3_000, 9 * 86_400),
    st.integers(-3_700, 3_700).map(lambda seconds: 7 * 86_400 + seconds),
)
events = st.fixed_dictionaries(
    {
        "age": ages,
        "cost_usd": st.sampled_from(("0", "0.1", "1", "0.000000000000000000000001")),
        "user_id": st.sampled_from(("", "ada", "brin")),
        "tags": st.lists(st.sampled_from(("x", "y")), unique=True),
        "model": st.sampled_from(("", "m", "n")),
        "workflow_id": st.sampled_from(("", "w")),
        "run_id": st.sampled_from(("", "r")),
        "session_id": st.sampled_from(("", "s")),
    }
)


class TwoReaders(TestCase):
    """`spent` and `edge` of the function bound what the detailed reading says; without an edge they are the same."""

    @examples(25)
    @given(
        zone=st.sampled_from(ZONES),
        folded=st.lists(events, max_size=6),
        unfolded=st.lists(events, max_size=6),
        held=st.lists(st.tuples(st.integers(-5, 60), st.sampled_from(("ada", "brin"))), max_size=4),
    )
    def test_the_function_and_the_reading_agree(
        self, zone: str, folded: list[dict[str, Any]], unfolded: list[dict[str, Any]], held: list[tuple[int, str]]
    ) -> None:
        organization = Organization.objects.create(slug="acme", name="Acme", time_zone=zone)
        _send(organization, folded)
        fold(now=NOW)
        _send(organization, unfolded)
        _hold(organization, held)
        rules = [_rule(scope, value, window) for scope, value in SCOPES.items() for window in LimitWindow]

        in_detail = read_balances(organization=organization, rules=rules, now=NOW)

        for rule, balance, (spent, edge, reserved) in zip(rules, in_detail, _metered(organization, rules), strict=True):
            assert spent <= balance.spent_usd <= spent + edge, rule
            assert balance.reserved_usd == reserved, rule


def _send(organization: Organization, sent: list[dict[str, Any]]) -> None:
    if not sent:
        return
    bodies = [
        {name: value for name, value in event.items() if name != "age"}
        | {"occurred_at": (NOW - timedelta(seconds=event["age"])).isoformat()}
        for event in sent
    ]
    parsed = json_events.parse(msgspec.json.encode(bodies), content_type="", max_events=10, now=NOW)
    result = ingest(organization=organization, credential=None, format="json", parsed=parsed, now=NOW)
    assert result.accepted == len(sent)


def _hold(organization: Organization, held: list[tuple[int, str]]) -> None:
    for seconds, user in held:
        Authorization.objects.create(
            id=new_id(NOW),
            organization=organization,
            amount_usd=Decimal("0.5"),
            created_at=NOW,
            expires_at=NOW + timedelta(seconds=seconds),
            user_ref=user,
            tags=["x"],
        )


def _rule(scope: LimitScope, value: str, window: LimitWindow) -> Rule:
    return Rule(
        limit_id=1,
        scope=scope,
        value=value,
        display_value=value,
        is_per_value=False,
        window=window,
        amount_usd=Decimal(1),
        base_amount_usd=Decimal(1),
        action=LimitAction.PAUSE,
        thresholds=(100,),
    )


def _metered(organization: Organization, rules: list[Rule]) -> list[tuple[Decimal, Decimal, Decimal]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT spent_usd, edge_usd, reserved_usd"
            " FROM billing_balances("
            "%s, %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s)",
            [
                organization.pk,
                *rule_parameters(rules, window_starts(organization, rules, NOW)),
                NOW,
            ],
        )
        return list(cursor.fetchall())
