"""Closing a month while usage of that month arrives: every event is in the closed month or is a late event of it."""

from datetime import UTC, date, datetime

import pytest

from billing.models import ClosedMonth, LateEvent, UsageEvent
from billing.month_closing import close_month
from billing.reports.statements.months import month_of
from billing.reports.statements.statement import StatementQuery, statement_totals
from billing.rollups.fold import fold
from costtrack.errors import ConflictError
from organizations.models import Organization
from organizations.types import Role
from tests.concurrency.conftest import run_concurrently
from tests.profiles import choose
from tests.usage import Send

OCTOBER, NOVEMBER = date(2026, 10, 1), date(2026, 11, 1)
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
BATCHES = choose(12, long=60)


@pytest.mark.django_db(transaction=True)
def test_every_event_is_on_exactly_one_side_of_the_closing(organization: Organization, send: Send) -> None:
    event = {"model": "m", "cost_usd": "1", "occurred_at": "2026-10-20T12:00:00Z"}
    send(*[event] * 5)
    results: list[str] = []

    def work(role: str) -> None:
        if role == "send":
            for _ in range(BATCHES):
                send(event, event)
        elif role == "fold":
            for _ in range(BATCHES):
                fold(now=NOW)
        else:
            try:
                close_month(organization=organization, month=OCTOBER, acting_as=Role.OWNER, actor="owner", now=NOW)
            except ConflictError as error:
                results.append(error.code)
            else:
                results.append("closed")

    run_concurrently(work, ["send", "send", "fold", "close", "close"])

    def totals(month: date) -> int:
        return statement_totals(StatementQuery(organization, month_of(organization, month))).total.requests

    assert sorted(results) == ["already_closed", "closed"]
    before = totals(OCTOBER)
    fold(now=NOW)
    late = LateEvent.objects.count()
    assert ClosedMonth.objects.count() == 1
    assert totals(OCTOBER) == before >= 5
    assert (before + late, totals(NOVEMBER)) == (UsageEvent.objects.count(), late)
    assert UsageEvent.objects.count() == 5 + 2 * 2 * BATCHES
