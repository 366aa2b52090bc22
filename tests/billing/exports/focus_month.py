"""A closed month with every kind of charge, for tests of files in the format of FOCUS."""

import csv
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest

from billing.allocation_rules import NewRule, create_rule
from billing.commitments import NewCommitment, create_commitment
from billing.exports.focus import FocusFile
from billing.exports.table_files import encode
from billing.ledger.corrections import adjust, void
from billing.ledger.credits import NewCredit, create_credit
from billing.models import UsageEvent
from billing.month_closing import close_month
from billing.pricing.agreement_services import AgreementTerms, create_agreement
from billing.reports.allocation.rules import AllocationBasis
from billing.rollups.fold import fold
from billing.types import AllocationTarget, CommitmentKind, FeePeriod, SplitMeasure, SplitMethod
from costtrack.file_columns import FileFormat
from organizations.models import APICredential, Organization, Plan, User
from organizations.types import Role
from tests.conftest import make_key
from tests.usage import send_events, set_price

SEPTEMBER, OCTOBER = date(2026, 9, 1), date(2026, 10, 1)
IN_SEPTEMBER, IN_OCTOBER = datetime(2026, 10, 2, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)
CALL = {"service": "openai", "model": "gpt-4o", "occurred_at": "2026-10-20T12:00:00Z", "team": "search"}
PLAN = {**CALL, "team": "plan"}
"""Usage that a subscription covers."""
CAPACITY = {**CALL, "service": "azure", "team": "capacity"}
"""Usage that provisioned capacity covers."""


def file_of(
    organization: Organization, version: str = "1.2", file_format: FileFormat = FileFormat.CSV, **options: Any
) -> bytes:
    table = FocusFile(month=OCTOBER, version=version, **options).table(organization, User())
    return b"".join(encode(table.columns, table.parts(), file_format, zone=table.zone))


def rows_of(organization: Organization, version: str = "1.2", **options: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(file_of(organization, version, **options).decode())))


@pytest.fixture(scope="module")
def closed_month(shared_transaction: None) -> Organization:
    organization = Organization.objects.create(slug="acme", name="Acme", plan=Plan.objects.get(code="enterprise"))
    every_kind_of_charge(organization, make_key(organization).credential)
    return organization


@pytest.fixture
def organization(closed_month: Organization, db: None) -> Organization:
    return closed_month


def every_kind_of_charge(organization: Organization, credential: APICredential | None = None) -> None:
    """Record usage, credits, corrections, commitments and shared cost, and close September and October."""
    set_price("gpt-4o", provider="openai", input="2.5", output="10", cache_read="1.25")
    set_price("whisper", provider="openai", request="0.006")
    terms = AgreementTerms(provider="openai", model_patterns=["gpt-4o"], discount_percent=Decimal("12.5"))
    early = {**CALL, "occurred_at": "2026-09-20T12:00:00Z"}
    _commit(organization)
    send_events(organization, {**early, "id": "september", "input_tokens": 1000}, now=IN_SEPTEMBER)
    _close(organization, SEPTEMBER, IN_SEPTEMBER)
    create_agreement(organization=organization, terms=terms, actor="ada")
    usage = {"input_tokens": 1200, "cache_read_tokens": 9000, "output_tokens": 313}
    send_events(
        organization,
        {**CALL, **usage, "tags": ["env:prod", "beta"], "end_user": "customer-1", "user_id": "ada"},
        {**CALL, **usage, "tags": ["env:prod", "beta"], "end_user": "customer-1", "user_id": "ada"},
        {**CALL, **usage, "cost_usd": "0.0123456789"},
        {**CALL, "model": "own-model", "service": "own", "input_tokens": 5, "cost_usd": "0.25"},
        {**CALL, "model": "whisper"},
        {**CALL, "model": "unknown", "input_tokens": 5},
        {**CALL, **usage, "id": "voided"},
        {**CALL, **usage, "id": "adjusted"},
        {**CALL, "kind": "tool_call", "tool": "search", "model": "", "service": "", "cost_usd": "0.004"},
        {**CALL, "kind": "compute", "model": "", "service": "aws", "cost_usd": "1.5"},
        {**PLAN, **usage, "occurred_at": "2026-10-03T12:00:00Z"},
        {**PLAN, **usage, "cost_usd": "1.1"},
        {**CAPACITY, **usage},
        {**CAPACITY, "model": "unknown", "input_tokens": 700},
        {**CALL, **usage, "team": ""},
        {**CALL, **usage, "team": "", "occurred_at": "2026-10-21T12:00:00Z", "tags": ["product:chat"]},
        {**CALL, "team": "", "model": "whisper"},
        now=IN_OCTOBER,
        credential=credential,
    )
    events = UsageEvent.objects.of(organization)
    correction: dict[str, Any] = {"organization": organization, "actor": "ada", "now": IN_OCTOBER}
    void(event_id=events.get(event_id="voided").pk, reason="A test", **correction)
    adjust(event_id=events.get(event_id="adjusted").pk, cost_usd=Decimal("0.001"), reason="Invoice", **correction)
    adjust(event_id=events.get(event_id="september").pk, cost_usd=Decimal("0.002"), reason="Invoice", **correction)
    late = {"occurred_at": early["occurred_at"], **usage}
    send_events(organization, {**CALL, **late}, {**PLAN, **late}, {**CALL, **late, "team": ""}, now=IN_OCTOBER)
    credit = NewCredit(Decimal("0.5"), "Outage", datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC))
    create_credit(organization=organization, credit=credit, actor="ada", now=IN_OCTOBER)
    fold(now=IN_OCTOBER)
    _close(organization, OCTOBER, IN_OCTOBER)


def _commit(organization: Organization) -> None:
    """A subscription of which a part is idle, provisioned capacity, and rules that split what belongs to no team."""
    plan = NewCommitment(
        "Team plan", CommitmentKind.SUBSCRIPTION, Decimal(10), FeePeriod.MONTH, SEPTEMBER, {"team": [PLAN["team"]]}
    )
    capacity = NewCommitment(
        "Units",
        CommitmentKind.PROVISIONED,
        Decimal("0.07"),
        FeePeriod.HOUR,
        date(2026, 10, 11),
        {"service": ["azure"]},
        date(2026, 10, 20),
        tokens_per_minute=3,
    )
    for commitment in (plan, capacity):
        create_commitment(organization=organization, commitment=commitment, actor="ada", now=IN_SEPTEMBER)
    by_requests = NewRule(
        AllocationBasis(AllocationTarget.TEAM),
        "Shared calls",
        SEPTEMBER,
        SplitMethod.PROPORTIONAL,
        measure=SplitMeasure.REQUESTS,
    )
    by_tag = NewRule(
        AllocationBasis(AllocationTarget.TAG, "product:"),
        "Products",
        SEPTEMBER,
        SplitMethod.FIXED,
        targets={"product:chat": Decimal("33.3"), "product:search": Decimal("66.7")},
    )
    for rule in (by_requests, by_tag):
        create_rule(organization=organization, rule=rule, actor="ada", now=IN_SEPTEMBER)


def _close(organization: Organization, month: date, now: datetime) -> None:
    close_month(organization=organization, month=month, acting_as=Role.OWNER, actor="owner@acme.example", now=now)
