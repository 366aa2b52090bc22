"""A closed month with every kind of charge, for tests of files in the format of FOCUS."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from billing.ledger.corrections import adjust, void
from billing.ledger.credits import NewCredit, create_credit
from billing.models import UsageEvent
from billing.month_closing import close_month
from billing.pricing.agreement_services import AgreementTerms, create_agreement
from billing.rollups.fold import fold
from organizations.models import APICredential, Organization
from organizations.types import Role
from tests.usage import send_events, set_price

SEPTEMBER, OCTOBER = date(2026, 9, 1), date(2026, 10, 1)
IN_SEPTEMBER, IN_OCTOBER = datetime(2026, 10, 2, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)
CALL = {"service": "openai", "model": "gpt-4o", "occurred_at": "2026-10-20T12:00:00Z", "team": "search"}


def every_kind_of_charge(organization: Organization, credential: APICredential | None = None) -> None:
    """Record usage, credits and corrections, and close September and October."""
    set_price("gpt-4o", provider="openai", input="2.5", output="10", cache_read="1.25")
    set_price("whisper", provider="openai", request="0.006")
    terms = AgreementTerms(provider="openai", model_patterns=["gpt-4o"], discount_percent=Decimal("12.5"))
    early = {**CALL, "occurred_at": "2026-09-20T12:00:00Z"}
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
        now=IN_OCTOBER,
        credential=credential,
    )
    events = UsageEvent.objects.of(organization)
    correction: dict[str, Any] = {"organization": organization, "actor": "ada", "now": IN_OCTOBER}
    void(event_id=events.get(event_id="voided").pk, reason="A test", **correction)
    adjust(event_id=events.get(event_id="adjusted").pk, cost_usd=Decimal("0.001"), reason="Invoice", **correction)
    adjust(event_id=events.get(event_id="september").pk, cost_usd=Decimal("0.002"), reason="Invoice", **correction)
    send_events(organization, {**early, **usage, "id": "late"}, now=IN_OCTOBER)
    credit = NewCredit(Decimal("0.5"), "Outage", datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC))
    create_credit(organization=organization, credit=credit, actor="ada", now=IN_OCTOBER)
    fold(now=IN_OCTOBER)
    _close(organization, OCTOBER, IN_OCTOBER)


def _close(organization: Organization, month: date, now: datetime) -> None:
    close_month(organization=organization, month=month, acting_as=Role.OWNER, actor="owner@acme.example", now=now)
