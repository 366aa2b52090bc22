"""A session summary replaces the session's running totals, by a difference."""

from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.ledger.price_unpriced import price_unpriced
from billing.models import UnpricedEvent, UsageEvent
from organizations.models import Organization
from tests.usage import NOW, Send, set_price, total_cost


def totals(organization: Organization, session: str = "s") -> tuple[Decimal, int, int]:
    events = UsageEvent.objects.of(organization).filter(session_id=session)
    counts = events.aggregate(Sum("input_tokens"), Sum("output_tokens"))
    return total_cost(UsageEvent.objects.filter(pk__in=events)), *counts.values()


RUNNING = (
    {"session_id": "s", "cost_usd": "1.00", "input_tokens": 100, "output_tokens": 10},
    {"session_id": "s", "kind": "tool_call", "tool": "build", "cost_usd": "0.50"},
)


def test_a_summary_makes_the_sums_its_own(organization: Organization, send: Send) -> None:
    send(*RUNNING)
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "0.80", "input_tokens": 90, "output_tokens": 12})

    assert totals(organization) == (Decimal("1.30"), 90, 12)  # compute cost was not named and stays


def test_what_a_summary_does_not_name_keeps_running(organization: Organization, send: Send) -> None:
    send(*RUNNING)
    send({"session_id": "s", "kind": "session_summary", "compute_cost_usd": "0.10"})

    assert totals(organization) == (Decimal("1.10"), 100, 10)


def test_the_same_summary_twice_changes_nothing(organization: Organization, send: Send) -> None:
    summary = {"id": "end", "session_id": "s", "kind": "session_summary", "cost_usd": "0.80"}
    send(*RUNNING)
    send(summary)

    assert send(summary).duplicates == 1
    assert send({**summary, "id": None}).accepted == 1
    assert totals(organization)[0] == Decimal("1.30")


def test_a_summary_in_the_same_request_comes_after_its_events(organization: Organization, send: Send) -> None:
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "0.80"}, *RUNNING)

    assert totals(organization)[0] == Decimal("1.30")


def test_late_events_still_count(organization: Organization, send: Send) -> None:
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "0.80"})
    send({"session_id": "s", "cost_usd": "0.05"})

    assert totals(organization)[0] == Decimal("0.85")


def test_other_sessions_are_not_touched(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    send(*RUNNING, {"session_id": "t", "cost_usd": "7"})
    send(*RUNNING, to=other_organization)
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "0"})

    assert totals(organization, "t")[0] == 7
    assert totals(other_organization)[0] == Decimal("1.50")


def test_a_summary_that_names_the_cost_has_priced_the_session(organization: Organization, send: Send) -> None:
    send({"session_id": "s", "model": "later", "input_tokens": 10})
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "0.80"})
    set_price("later", input="1000000")

    assert not UnpricedEvent.objects.exists()
    assert price_unpriced(organization=organization, now=NOW) == 0
    assert totals(organization)[0] == Decimal("0.80")


def test_a_summary_has_priced_the_events_of_its_own_request_too(organization: Organization, send: Send) -> None:
    send(
        {"session_id": "s", "model": "unheard-of", "input_tokens": 10},
        {"kind": "session_summary", "id": "end", "session_id": "s", "cost_usd": "2"},
    )

    assert not UnpricedEvent.objects.exists()
    set_price("unheard-of", input="1000000")
    assert price_unpriced(organization=organization, now=NOW) == 0
    assert total_cost(UsageEvent.objects.of(organization)) == Decimal(2)
    assert UsageEvent.objects.aggregate(Sum("unpriced")) == {"unpriced__sum": 0}


COUNTS = ("turns", "tool_calls", "tool_use_tokens", "tool_result_tokens", "duration_ms", "reasoning_tokens")


def counted(organization: Organization, session: str = "s") -> dict[str, object]:
    events = UsageEvent.objects.of(organization).filter(session_id=session)
    return events.aggregate(**{name: Sum(name) for name in COUNTS})


BUSY = (
    {"session_id": "s", "cost_usd": "1", "tool": "Read", "tool_use_tokens": 5, "duration_ms": 100, "output_tokens": 9},
    {"session_id": "s", "cost_usd": "1", "reasoning_tokens": 4, "output_tokens": 9},
    {"session_id": "s", "kind": "tool_call", "tool": "Read", "tool_result_tokens": 50, "duration_ms": 10.5},
)


def test_a_summary_may_report_turns_and_tool_calls_and_what_else_is_counted(
    organization: Organization, send: Send
) -> None:
    summary_totals = {"turns": 7, "tool_calls": 0, "tool_use_tokens": 8, "tool_result_tokens": 40, "duration_ms": 95}
    send(*BUSY)
    send({"session_id": "s", "kind": "session_summary", **summary_totals})

    assert counted(organization) == {**summary_totals, "reasoning_tokens": 4}


def test_turns_and_tool_calls_that_are_not_named_keep_running(organization: Organization, send: Send) -> None:
    send(*BUSY)
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "1", "turns": None})

    assert (counted(organization)["turns"], counted(organization)["tool_calls"]) == (2, 1)


def test_a_second_summary_replaces_the_first(organization: Organization, send: Send) -> None:
    send(*BUSY)
    send({"session_id": "s", "kind": "session_summary", "id": "first", "turns": 9, "tool_calls": 9, "cost_usd": "5"})
    send({"session_id": "s", "kind": "session_summary", "id": "second", "turns": 3, "cost_usd": "0.5"})

    assert (counted(organization)["turns"], counted(organization)["tool_calls"]) == (3, 9)
    assert totals(organization)[0] == Decimal("0.5")


def test_the_difference_is_booked_where_the_summary_belongs(organization: Organization, send: Send) -> None:
    send({**BUSY[0], "model": "gpt-4o", "service": "openai"})
    dimensions = {"service": "anthropic", "model": "claude", "phase_id": "p", "execution_id": "e", "run_id": "r"}
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "3", "turns": 4, **dimensions})

    summary = UsageEvent.objects.get(kind="session_summary")
    assert {name: getattr(summary, name) for name in dimensions} == dimensions
    assert (summary.token_cost_usd, summary.turns, summary.requests) == (2, 3, 0)


def test_the_greatest_totals_can_be_reported_and_taken_back(organization: Organization, send: Send) -> None:
    largest = {"turns": 1_000_000_000, "tool_calls": 1_000_000_000}
    send({"session_id": "s", "kind": "session_summary", **largest})
    send(*BUSY)
    send({"session_id": "s", "kind": "session_summary", "turns": 0, "tool_calls": 0})

    assert (counted(organization)["turns"], counted(organization)["tool_calls"]) == (0, 0)


def test_what_a_summary_reports_is_a_part_of_what_it_says(send: Send) -> None:
    summary = {"id": "end", "session_id": "s", "kind": "session_summary", "turns": 4}
    send(summary)

    assert send(summary).duplicates == 1
    assert send({**summary, "turns": 5}).conflicts == 1
    assert send({**summary, "tool_calls": 5}).conflicts == 1


@pytest.mark.parametrize("field", ["turns", "tool_calls"])
@pytest.mark.parametrize("kind", [None, "model_call", "tool_call", "compute"])
def test_only_summaries_report_turns_and_tool_calls(send: Send, field: str, kind: str | None) -> None:
    result = send({"id": "x", "kind": kind, "cost_usd": "1", field: 1})

    (error,) = result.errors
    assert (error.field, error.code, error.id) == (field, "not_allowed", "x")
    assert field in error.message


@pytest.mark.parametrize("value", [-1, 1_000_000_001, 1.5, "many"])
def test_turns_are_a_whole_number_within_reason(send: Send, value: object) -> None:
    result = send({"session_id": "s", "kind": "session_summary", "turns": value})

    assert [error.field for error in result.errors] == ["turns"]
