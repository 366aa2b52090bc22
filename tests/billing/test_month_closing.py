"""Closing a month: its statement no longer changes, and what comes later is booked in the open month."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.ledger.corrections import adjust, void
from billing.ledger.credits import NewCredit, create_credit, void_credit
from billing.ledger.price_unpriced import price_unpriced
from billing.models import ClosedMonth, Credit, DroppedMonth, LateEvent, Notice, PriceVersion, UsageEvent
from billing.month_closing import close_month
from billing.reports.statements.months import list_months, month_of
from billing.reports.statements.statement import (
    NO_FIGURES,
    StatementFigures,
    StatementQuery,
    all_statement_lines,
    late_rows,
    statement_totals,
)
from billing.reports.usage.figures import GroupBy, UsageFilter
from billing.reports.usage.totals import totals
from billing.rollups.fold import fold
from costtrack.errors import ConflictError, ForbiddenError
from organizations.models import AuditEntry, Organization
from organizations.types import Role
from tests.profiles import examples
from tests.usage import NOW, Send, set_price

SEPTEMBER, OCTOBER, NOVEMBER = date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1)
CALL = {"model": "gpt-4o", "input_tokens": 100, "occurred_at": "2026-10-20T12:00:00Z", "cost_usd": "1"}

pytestmark = pytest.mark.django_db


def close(organization: Organization, month: date = OCTOBER) -> None:
    close_month(organization=organization, month=month, acting_as=Role.OWNER, actor="owner@acme.example", now=NOW)


def query(organization: Organization, month: date, by: GroupBy | None = None, **filters: str) -> StatementQuery:
    return StatementQuery(organization, month_of(organization, month), by, UsageFilter(**filters))


def cost(organization: Organization, month: date) -> Decimal:
    return statement_totals(query(organization, month)).total.cost_usd


def everything(organization: Organization, month: date) -> list[Any]:
    """All of the statement of a month, by each dimension."""
    queries = [query(organization, month, by) for by in (GroupBy.TEAM, GroupBy.TAG)]
    return [statement_totals(queries[0]), *([*map(list, all_statement_lines(each))] for each in queries)]


def test_a_late_event_is_booked_in_the_open_month_and_names_the_month_that_it_corrects(
    organization: Organization, send: Send
) -> None:
    send({**CALL, "id": "early"})
    close(organization)
    send({**CALL, "id": "late", "cost_usd": "0.25"}, {**CALL, "id": "now", "occurred_at": "2026-11-01T10:00:00Z"})

    before_fold = statement_totals(query(organization, NOVEMBER))
    fold(now=NOW)

    assert statement_totals(query(organization, NOVEMBER)) == before_fold
    assert before_fold.corrections == {OCTOBER: StatementFigures(1, 100, cost_usd=Decimal("0.25"))}
    assert (cost(organization, OCTOBER), before_fold.usage.cost_usd, cost(organization, NOVEMBER)) == (
        Decimal(1),
        Decimal(1),
        Decimal("1.25"),
    )
    [(late,), _] = late_rows(organization=organization, month=month_of(organization, NOVEMBER))
    assert (late.month, late.cost_usd, late.corrects) == (OCTOBER, Decimal("0.25"), None)


def test_a_correction_of_a_closed_month_names_its_event(organization: Organization, send: Send) -> None:
    send(CALL)
    event = UsageEvent.objects.get()
    close(organization)
    adjust(
        organization=organization,
        event_id=event.pk,
        cost_usd=Decimal("0.4"),
        reason="Half price",
        actor="ada@acme.example",
        now=NOW,
    )
    fold(now=NOW)

    [(late,), _] = late_rows(organization=organization, month=month_of(organization, NOVEMBER))
    assert (late.corrects, late.reason, late.cost_usd) == (event.pk, "Half price", Decimal("-0.6"))
    assert cost(organization, OCTOBER) == 1
    assert cost(organization, NOVEMBER) == Decimal("-0.6")


def test_a_late_event_of_an_older_month_is_booked_after_the_last_closed_one(
    organization: Organization, send: Send
) -> None:
    send({**CALL, "occurred_at": "2026-08-05T12:00:00Z"})
    close(organization)
    assert list(ClosedMonth.objects.values_list("month", flat=True).order_by("month")) == [
        date(2026, 8, 1),
        SEPTEMBER,
        OCTOBER,
    ]
    send({**CALL, "occurred_at": "2026-07-05T12:00:00Z"}, {**CALL, "occurred_at": "2026-08-05T12:00:00Z"})
    fold(now=NOW)

    late = LateEvent.objects.order_by("month").values_list("month", "booked_month")
    assert list(late) == [(date(2026, 7, 1), NOVEMBER), (date(2026, 8, 1), NOVEMBER)]
    assert [cost(organization, month.month) for month in list_months(organization, NOW)] == [2, 0, 0, 1, 0]


def test_credits_are_a_section_of_their_own(organization: Organization, send: Send) -> None:
    send({**CALL, "cost_usd": "10"})
    october = NewCredit(Decimal(3), "Outage", datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
    for _ in range(2):
        create_credit(organization=organization, credit=october, actor="ada", now=NOW)
    voided = Credit.objects.first()
    assert voided is not None
    void_credit(organization=organization, credit_id=voided.pk, reason="Twice", actor="ada", now=NOW)

    sums = statement_totals(query(organization, OCTOBER))
    assert (sums.usage.cost_usd, sums.credits.cost_usd, sums.total.cost_usd) == (10, -3, 7)
    close(organization)
    create_credit(organization=organization, credit=october, actor="ada", now=NOW)
    assert statement_totals(query(organization, OCTOBER)) == sums
    assert statement_totals(query(organization, NOVEMBER)).corrections[OCTOBER].cost_usd == -3


def test_an_unknown_cost_is_counted_and_not_zero(organization: Organization, send: Send) -> None:
    send({"model": "unknown", "input_tokens": 5, "occurred_at": CALL["occurred_at"]})

    [line] = next(all_statement_lines(query(organization, OCTOBER)))
    assert (line.figures.unpriced_events, line.figures.cost_usd) == (1, 0)


def test_months_follow_each_other_without_a_gap_when_the_time_zone_changes(
    organization: Organization, send: Send
) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="Europe/Berlin")
    organization.refresh_from_db()
    send({**CALL, "occurred_at": "2026-10-31T22:59:59Z"})  # October's last second in Berlin
    close(organization)
    Organization.objects.filter(pk=organization.pk).update(time_zone="America/Los_Angeles")
    organization.refresh_from_db()
    send({**CALL, "occurred_at": "2026-10-31T23:00:00Z"})  # still October in Los Angeles
    fold(now=NOW)

    october, november = (month_of(organization, month) for month in (OCTOBER, NOVEMBER))
    assert october.span.end == november.span.start == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert november.span.end == datetime(2026, 12, 1, 8, tzinfo=UTC)
    assert not LateEvent.objects.exists()
    assert (cost(organization, OCTOBER), cost(organization, NOVEMBER)) == (1, 1)


def test_only_an_owner_closes_a_month_that_has_ended_once(organization: Organization) -> None:
    with pytest.raises(ForbiddenError):
        close_month(organization=organization, month=OCTOBER, acting_as=Role.ADMIN, actor="admin", now=NOW)
    with pytest.raises(ConflictError, match="has not ended"):
        close(organization, NOVEMBER)
    close(organization)
    for month in (OCTOBER, SEPTEMBER):
        with pytest.raises(ConflictError, match="already closed"):
            close(organization, month)


def test_closing_is_in_the_audit_log_and_a_notice(organization: Organization, send: Send) -> None:
    send(CALL, {"model": "unknown", "input_tokens": 5, "occurred_at": CALL["occurred_at"]})
    close(organization)

    entry = AuditEntry.objects.get(action="month.closed")
    assert (entry.subject, entry.details) == ("2026-10", {"cost_usd": "1", "unpriced_events": 1})
    notice = Notice.objects.get()
    assert notice.subject == "Acme Research: October 2026 is closed"
    assert notice.data["month"]["cost_usd"] == "1"


def test_a_month_whose_events_were_dropped_has_no_statement(organization: Organization, send: Send) -> None:
    send(CALL)
    close(organization)
    DroppedMonth.objects.create(organization=organization, month=SEPTEMBER, events=1, unpriced=0, dropped_at=NOW)
    assert cost(organization, OCTOBER) == 1
    DroppedMonth.objects.create(organization=organization, month=OCTOBER, events=1, unpriced=0, dropped_at=NOW)

    with pytest.raises(ConflictError, match="no longer stored"):
        cost(organization, OCTOBER)


operations = st.lists(
    st.tuples(
        st.sampled_from(("send", "send", "void", "adjust", "credit", "price", "fold", "rename")), st.integers(0, 999)
    ),
    max_size=12,
)


@examples(4, shrinks=False)
@given(earlier=operations, later=operations)
def test_a_closed_month_never_changes_and_later_corrections_make_up_the_difference(
    organization: Organization, send: Send, earlier: list[tuple[str, int]], later: list[tuple[str, int]]
) -> None:
    with transaction.atomic():
        Organization.objects.filter(pk=organization.pk).update(time_zone="Pacific/Auckland")
        organization.refresh_from_db()
        ledger = Ledger(organization, send)
        for operation, number in earlier:
            ledger.run(operation, number)
        close(organization)
        before = everything(organization, OCTOBER)
        for operation, number in later:
            ledger.run(operation, number)

        assert everything(organization, OCTOBER) == before
        ledger.check(Random(len(later)))
        transaction.set_rollback(True)


class Ledger:
    """Random changes of the ledger of an organization, around the end of October."""

    def __init__(self, organization: Organization, send: Send) -> None:
        self.organization, self.send = organization, send

    def run(self, operation: str, number: int) -> None:
        getattr(self, operation if operation != "send" else "call")(number)

    def call(self, number: int) -> None:
        at = datetime(2026, 9, 29, tzinfo=UTC) + timedelta(hours=number % 820)
        cost_usd = {} if number % 5 == 0 else {"cost_usd": f"{number}e-9"}
        self.send(
            {
                "model": ("gpt-4o", "o3")[number % 2],
                "team": ("search", "ads", "")[number % 3],
                "end_user": ("c1", "")[number % 2],
                "user_id": ("ada", "bob")[number // 2 % 2],
                "session_id": ("s1", "")[number // 3 % 2],
                "tags": ["env:prod", "a"][: number % 3],
                "occurred_at": at.isoformat(),
                "input_tokens": number,
                **cost_usd,
            }
        )

    def _event(self, number: int) -> UsageEvent | None:
        events = UsageEvent.objects.of(self.organization).exclude(kind__in=("adjustment", "credit"))
        events = events.filter(unpriced=0).order_by("id")
        return events[number % len(events)] if events else None

    def void(self, number: int) -> None:
        event = self._event(number)
        if event is not None and not UsageEvent.objects.filter(adjusts=event.pk).exists():
            void(organization=self.organization, event_id=event.pk, reason="wrong", actor="ada", now=NOW)

    def adjust(self, number: int) -> None:
        event = self._event(number)
        if event is not None and not UsageEvent.objects.filter(adjusts=event.pk).exists():
            amount = Decimal(number).scaleb(-7)
            adjust(organization=self.organization, event_id=event.pk, cost_usd=amount, reason="x", actor="ada", now=NOW)

    def credit(self, number: int) -> None:
        start = datetime(2026, 10, 25, tzinfo=UTC)
        credit = NewCredit(
            Decimal(number + 1).scaleb(-5),
            "credit",
            start,
            start + timedelta(days=1 + number % 7),
            {"team": "ads", "tags": ["a"]},
        )
        create_credit(organization=self.organization, credit=credit, actor="ada", now=NOW)

    def price(self, number: int) -> None:
        if not PriceVersion.objects.filter(organization=self.organization).exists():
            set_price("o3", organization=self.organization, input=str(number + 1))
        price_unpriced(organization=self.organization, now=NOW)

    def fold(self, number: int) -> None:
        fold(now=NOW)

    def rename(self, number: int) -> None:
        Organization.objects.filter(pk=self.organization.pk).update(name=f"Acme {number}")

    def check(self, drawn: Random) -> None:
        """For random filters: what the explorer shows of a month is its statement plus the later corrections of it."""
        values = {
            "model": ("gpt-4o", "o3"),
            "team": ("search", "ads"),
            "end_user": ("c1",),
            "user_id": ("ada",),
            "session_id": ("s1",),
            "tag": ("env:prod", "a"),
        }
        october, november = (month_of(self.organization, month) for month in (OCTOBER, NOVEMBER))
        for _ in range(5):
            names = drawn.sample(sorted(values), drawn.choice((0, 1, 2)))
            filters = UsageFilter(**{name: drawn.choice(values[name]) for name in names})
            statement = statement_totals(StatementQuery(self.organization, october, None, filters))
            later = statement_totals(StatementQuery(self.organization, november, None, filters))
            (shown,) = totals(organization=self.organization, filters=filters, windows=[october.span])
            booked = statement.usage + statement.credits + later.corrections.get(OCTOBER, NO_FIGURES)
            assert (booked.requests, booked.cost_usd, booked.unpriced_events, booked.output_tokens) == (
                shown.requests,
                shown.cost_usd,
                shown.unpriced_events,
                shown.completion_tokens,
            )
        lines = [
            line for page in all_statement_lines(query(self.organization, NOVEMBER, GroupBy.TEAM)) for line in page
        ]
        assert (
            sum((line.figures for line in lines), NO_FIGURES)
            == statement_totals(query(self.organization, NOVEMBER)).total
        )
