"""Explorer, API, CSV, Parquet, statements and FOCUS have one total, whatever the month and the filters."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from random import Random
from typing import Any

import pytest
import time_machine
from django.test import Client
from pyarrow import parquet
from rest_framework.test import APIClient

from billing.allocation_rules import NewRule, create_rule
from billing.commitments import NewCommitment, create_commitment
from billing.exports.focus import FocusFile
from billing.exports.table_files import encode
from billing.ledger.corrections import adjust, void
from billing.models import UsageEvent
from billing.month_closing import close_month
from billing.reports.allocation.allocation import allocations
from billing.reports.allocation.rules import AllocationBasis
from billing.reports.months import ReportMonth
from billing.reports.statements.months import month_of
from billing.reports.statements.statement import StatementQuery, statement_totals
from billing.reports.usage.figures import UsageFilter
from billing.rollups.fold import fold
from billing.types import AllocationTarget, CommitmentKind, FeePeriod, SplitMeasure, SplitMethod
from costtrack.file_columns import FileFormat
from organizations.models import Organization, Plan, User
from organizations.types import Role, Scope
from tests.conftest import add_member, make_key
from tests.usage import NOW, send_events, set_price

MONTHS = (date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1))
ENDS = ("2026-09-30", "2026-10-31", "2026-11-30")
VALUES: dict[str, tuple[str, ...]] = {
    "model": ("gpt-4o", "o3"),
    "team": ("search", "ads"),
    "end_user": ("customer-1",),
    "user_id": ("ada", "bob"),
    "capability": ("chat", "agents"),
    "tag": ("env:prod", "beta"),
}
BY_TEAM = AllocationBasis(AllocationTarget.TEAM)
FOCUS_COLUMNS = {
    "model": "x_Model",
    "team": "x_Team",
    "end_user": "x_EndUser",
    "user_id": "x_UserId",
    "capability": "x_Capability",
}


@dataclass(frozen=True)
class World:
    organization: Organization
    api: APIClient
    owner: User
    focus: dict[date, list[dict[str, str]]]


@pytest.fixture(scope="module")
def closed_world(shared_transaction: None) -> World:
    """Three months of usage of which two are closed, with late usage, corrections, a commitment and shared cost."""
    plan = Plan.objects.get(code="enterprise")
    organization = Organization.objects.create(slug="acme", name="Acme", plan=plan, time_zone="Pacific/Auckland")
    set_price("gpt-4o", input="2.5", output="10")
    commitment = NewCommitment(
        "Plan", CommitmentKind.SUBSCRIPTION, Decimal(9), FeePeriod.MONTH, MONTHS[0], {"team": ["ads"]}
    )
    create_commitment(organization=organization, commitment=commitment, actor="ada", now=NOW)
    shared = NewRule(
        BY_TEAM,
        "Shared agents",
        MONTHS[0],
        SplitMethod.PROPORTIONAL,
        source={"capability": ["agents"], "user_id": ["ada", ""]},
        without_target_only=False,
        measure=SplitMeasure.REQUESTS,
    )
    rest = NewRule(BY_TEAM, "Rest", MONTHS[0], SplitMethod.EVEN, position=2, targets={"core": None, "ads": None})
    for rule in (shared, rest):
        create_rule(organization=organization, rule=rule, actor="ada", now=NOW)
    drawn = Random(4)
    key = make_key(organization, *Scope)
    for number in range(3):
        result = send_events(organization, *(_event(drawn) for _ in range(30)), now=NOW, credential=key.credential)
        assert result.accepted == 30
        corrected = UsageEvent.objects.of(organization).filter(adjusts__isnull=False).values("adjusts")
        events = UsageEvent.objects.of(organization).filter(kind="model_call", unpriced=0).exclude(pk__in=corrected)
        for event in drawn.sample(list(events.order_by("occurred_at")), 4):
            change: dict[str, Any] = {"organization": organization, "actor": "ada", "now": NOW, "reason": "Invoice"}
            if drawn.random() < 0.5:
                void(event_id=event.pk, **change)
            else:
                adjust(event_id=event.pk, cost_usd=Decimal(drawn.randrange(10**6)) / 10**9, **change)
        fold(now=NOW)
        if number < 2:
            month = MONTHS[number]
            close_month(organization=organization, month=month, acting_as=Role.OWNER, actor="ada", now=NOW)
    focus = {month: _focus(organization, month) for month in MONTHS}
    return World(organization, key.client(), add_member(organization, "owner@acme.example", Role.OWNER), focus)


@pytest.fixture
def world(closed_world: World, db: None) -> Iterator[World]:
    with time_machine.travel(NOW, tick=False):
        yield closed_world


def _event(drawn: Random) -> dict[str, Any]:
    chosen = {name: drawn.choice((*values, "")) for name, values in VALUES.items() if name != "tag"}
    start = datetime(2026, 8, 31, 12, tzinfo=UTC)
    at = start + timedelta(minutes=drawn.randrange((NOW - start) // timedelta(minutes=1)))
    cost = {} if drawn.random() < 0.4 else {"cost_usd": f"{drawn.randrange(10**9)}e-9"}
    tokens = {"input_tokens": drawn.randrange(5000), "output_tokens": drawn.randrange(500)}
    tags = drawn.sample(VALUES["tag"], drawn.randrange(3))
    dimensions = {name: value for name, value in chosen.items() if value}
    return {"model": "o3", **dimensions, **tokens, **cost, "occurred_at": at.isoformat(), "tags": tags}


def _focus(organization: Organization, month: date) -> list[dict[str, str]]:
    table = FocusFile(month=month, version="1.4").table(organization, User())
    file = b"".join(encode(table.columns, table.parts(), FileFormat.CSV, zone=table.zone))
    return list(csv.DictReader(StringIO(file.decode())))


def _content(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def _cost(rows: list[dict[str, str]], column: str) -> Decimal:
    return sum((Decimal(row[column] or 0) for row in rows), Decimal(0))


def _is_of(row: dict[str, str], filters: dict[str, str]) -> bool:
    tags = json.loads(row["Tags"] or "{}")
    named = {key if value is True else f"{key}:{value}" for key, value in tags.items()}
    return all(
        value in named if name == "tag" else row[FOCUS_COLUMNS[name]] == value for name, value in filters.items()
    )


def test_twenty_random_filters_and_months_have_one_total(world: World) -> None:
    drawn, page = Random(20), Client()
    page.force_login(world.owner)
    corrected = 0
    for number in range(20):
        names = drawn.sample(sorted(VALUES), drawn.choice((0, 1, 1, 2)))
        filters = {name: drawn.choice(VALUES[name]) for name in names}
        position = drawn.randrange(3)
        month = MONTHS[position]
        query = {"start_date": month.isoformat(), "end_date": ENDS[position], **filters}
        rows = {**query, "rows": "breakdown", "group_by": "team"}
        of_filters = {each: [row for row in world.focus[each] if _is_of(row, filters)] for each in MONTHS}
        statements = {
            each: statement_totals(
                StatementQuery(world.organization, month_of(world.organization, each), filters=UsageFilter(**filters))
            )
            for each in MONTHS[position:]
        }
        # By time of booking.
        for each, statement in statements.items():
            assert _cost(of_filters[each], "x_LedgerCost") == statement.total.cost_usd, (each, filters)

        # By time of usage: the statement of the month, and all later corrections that name it.
        late = [statement.corrections[month] for statement in statements.values() if month in statement.corrections]
        corrected += len(late)
        own = statements[month]
        named = [row for each in MONTHS for row in of_filters[each] if row["x_CorrectedMonth"] == f"{month:%Y-%m}"]
        booked = [row for row in of_filters[month] if not row["x_CorrectedMonth"]]
        table = parquet.read_table(BytesIO(_content(world.api.get("/usage/export", {**rows, "format": "parquet"}))))
        totals = {
            "statement": (own.usage + own.credits).cost_usd + sum((row.cost_usd for row in late), Decimal(0)),
            "focus": _cost([*booked, *named], "x_LedgerCost"),
            "summary": Decimal(world.api.get("/usage/summary", query).json()["cost_usd"]),
            "csv": _cost(
                list(csv.DictReader(StringIO(_content(world.api.get("/usage/export", rows)).decode()))), "cost_usd"
            ),
            "parquet": sum(table.column("cost_usd").to_pylist(), Decimal(0)),
        }
        if number % 4 == 0:
            shown = page.get("/o/acme/admin/explore/", {**query, "group_by": "model"}).context["table"]
            totals["explorer"] = sum((row.figures.cost_usd for row in shown.rows), Decimal(0))
        assert totals == dict.fromkeys(totals, totals["summary"]), (month, filters)
    assert corrected > 5


def test_the_charges_of_each_team_add_up_to_its_cost_after_the_rules(world: World) -> None:
    for month, charges in world.focus.items():
        months = [ReportMonth(month, month_of(world.organization, month).span)]
        (allocation,) = allocations(organization=world.organization, basis=BY_TEAM, months=months)
        assert all(result.source_usd and result.given for result in allocation.rules)
        for row in allocation.rows:
            charged = [charge for charge in charges if charge["x_AllocatedTo"] == row.target]
            assert _cost(charged, "x_LedgerCost") == row.total_usd, (month, row)
