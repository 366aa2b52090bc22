"""After whatever has happened, the families agree with each other and with plain books: what they are asked about is
one ledger.

The invariants have numbers. Here: 1 the money of all events, and of those with a run, a session or a group, is the same
wherever it is asked for; 2 sessions and executions add up, summaries included; 3 groups of costs add up to services,
and those to the total; 4 windows hold their last day; 8 amounts are written out; 9 circles of runs end. In
`test_invariants_of_edges`: 5 limits and pages, 6 tenants, 10 filters of the log, 11 sorting and exports, 12 estimates.
In `test_invariants_of_limits`: 7 and 13, which are about spend limits.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.expected_ledger import ZERO, Entry, ExpectedLedger, by_tag, cost, costs_by, known, total
from tests.contract.family_reader import ALL_DAYS, Reader, amounts, exact, summed
from tests.contract.history import History, Stage, histories, instant
from tests.profiles import examples
from tests.usage import NOW

few = examples(4, shrinks=False)


def readers(stage: Stage) -> Iterator[tuple[Reader, ExpectedLedger]]:
    """Each side with its books."""
    for side, other in (stage.sides, stage.sides[::-1]):
        yield Reader(side, other), side.ledger


@few
@given(history=histories)
def test_1_2_3_and_9_what_belongs_together_adds_up(stage: Stage, history: History) -> None:
    """Of one history, because making it takes as long as reading all that it has become."""
    with stage.after(history):
        for reader, ledger in readers(stage):
            _assert_totals(reader, ledger, total(ledger.entries))
            _assert_breakdowns(reader, ledger)
            _assert_sessions_and_executions(reader, ledger)
            _assert_runs_and_descendants(reader, ledger)


def _assert_totals(reader: Reader, ledger: ExpectedLedger, sums: dict[str, Decimal]) -> None:
    """Σ rows = Σ days = Σ daily = the summary = the ledger."""
    money, calls = cost(ledger.entries), sums["requests"]
    rows = reader.log_rows()
    assert summed(row["spend"] for row in rows) == money
    assert len(rows) == len(ledger.entries)
    assert summed(row["prompt_tokens"] for row in rows) == sum(entry.prompt_tokens for entry in ledger.entries)
    assert summed(day["spend"] for day in reader.log_days()) == money

    daily = reader.post("/system/pricing")
    assert summed(item["total_cost"] for item in daily["daily"]) == money
    assert daily["total_count"] == sum(item["run_count"] for item in daily["daily"]) == calls

    usage = reader.usage()
    assert exact(usage["cost_usd"]) == money
    assert summed(day["cost_usd"] for day in usage["daily"]) == money
    assert (usage["requests"], usage["unpriced_events"]) == (calls, sums["unpriced"])
    assert usage["prompt_tokens"] == sum(entry.prompt_tokens for entry in ledger.entries)
    assert usage["completion_tokens"] == sums["output_tokens"]

    events = reader.events()
    assert summed(row["token_cost_usd"] for row in events) + summed(row["compute_cost_usd"] for row in events) == money


def _assert_breakdowns(reader: Reader, ledger: ExpectedLedger) -> None:
    """What belongs to something, and every way of cutting all of it into parts."""
    entries, money = ledger.entries, cost(ledger.entries)
    assert exact(reader.get("/costs/runs")["total_cost"]) == cost(ledger.having("run_id"))
    assert exact(reader.get("/costs/summary")["total_cost_usd"]) == cost(ledger.having("session_id"))
    assert summed(row["total_cost"] for page in reader.groups(50) for row in page) == cost(ledger.having("group_id"))

    tags = {tag["individual_request_tag"]: tag["total_spend"] for tag in reader.get("/spend/tags")}
    tagged = list(by_tag(entries))
    assert amounts(tags) == known((name, cost(entry for tag, entry in tagged if tag == name)) for name in tags)
    assert tags.keys() == {tag for tag, _ in tagged}

    users = reader.get("/spend/users")
    assert known((user["user_id"], exact(user["spend"])) for user in users) == costs_by(
        entries, lambda entry: entry.text("user_id")
    )
    assert summed(key["spend"] for key in reader.get("/spend/keys")) == money
    capabilities = reader.get("/usage/capabilities", start_date=ALL_DAYS["start_date"])["capabilities"]
    assert known((row["capability"], exact(row["cost_usd"])) for row in capabilities) == costs_by(
        entries, lambda entry: entry.text("capability")
    )
    credentials = reader.get("/usage/credentials", start_date=ALL_DAYS["start_date"])["credentials"]
    assert summed(row["cost_usd"] for row in credentials) == money
    series = reader.get("/usage/timeseries", view="cost", granularity="week", group_by="model", **ALL_DAYS)
    assert exact(series["total"]["cost_usd"]) == summed(line["total"]["cost_usd"] for line in series["series"]) == money
    report = reader.get("/global/spend/report", group_by="api_key", **ALL_DAYS)
    assert summed(key["total_cost"] for key in report) == money
    activity = reader.get("/global/activity", **ALL_DAYS)
    assert activity["sum_api_requests"] == total(entries)["requests"]


def _assert_sessions_and_executions(reader: Reader, ledger: ExpectedLedger) -> None:
    sessions = {session["session_id"]: session for session in reader.get("/costs/sessions", limit=200)}
    assert sessions.keys() == ledger.values("session_id")
    for name, session in sessions.items():
        assert session == reader.get(f"/costs/sessions/{name}")
        _assert_session_costs(session, ledger.where(session_id=name))
    executions = {execution["execution_id"]: execution for execution in reader.get("/costs/executions", limit=200)}
    for name, execution in executions.items():
        _assert_execution_costs(
            execution, [session for session in sessions.values() if session["execution_id"] == name]
        )
        assert amounts(execution["cost_by_phase"]) == _by_phase(ledger, execution["session_ids"])
    assert executions.keys() == {
        entry.text("execution_id") for entry in ledger.having("execution_id") if entry.text("session_id")
    }
    _assert_summary(reader.get("/costs/summary"), sessions, executions)


def _assert_session_costs(session: dict[str, Any], entries: list[Entry]) -> None:
    sums = total(entries)
    assert exact(session["token_cost_usd"]) == sums["token_cost_usd"]
    assert exact(session["compute_cost_usd"]) == sums["compute_cost_usd"]
    assert exact(session["total_cost_usd"]) == cost(entries)
    assert summed(session["cost_by_model"].values()) == sums["token_cost_usd"]
    assert summed(session["cost_by_tool"].values()) == sums["compute_cost_usd"]
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "tool_calls", "turns"):
        assert session[name] == sums[name], name
    assert session["total_tokens"] == session["input_tokens"] + session["output_tokens"]
    assert session["duration_ms"] == sums["duration_ms"]
    summaries = [entry for entry in entries if entry.kind == "session_summary"]
    assert session["is_finalized"] is bool(summaries)
    assert instant(session["started_at"]) == min(entry.at for entry in entries)
    assert (session["completed_at"] is None) is not bool(summaries)


def _assert_execution_costs(execution: dict[str, Any], sessions: list[dict[str, Any]]) -> None:
    assert sorted(execution["session_ids"]) == sorted(session["session_id"] for session in sessions)
    assert execution["session_count"] == len(sessions)
    for name in ("total_cost_usd", "token_cost_usd", "compute_cost_usd"):
        assert exact(execution[name]) == summed(session[name] for session in sessions), name
    for name in ("input_tokens", "output_tokens", "total_tokens", "tool_calls", "turns", "duration_ms"):
        assert execution[name] == sum(session[name] for session in sessions), name
    assert summed(execution["cost_by_model"].values()) == exact(execution["token_cost_usd"])
    assert summed(execution["cost_by_tool"].values()) == exact(execution["compute_cost_usd"])
    assert execution["is_complete"] is all(session["is_finalized"] for session in sessions)


def _by_phase(ledger: ExpectedLedger, sessions: list[str]) -> dict[str, Decimal]:
    """An event that names no phase is of its session's. What is of none is not in it."""

    def phase(entry: Entry) -> str:
        phases = (event.text("phase_id") for event in ledger.where(session_id=entry.text("session_id")))
        return entry.text("phase_id") or max(phases)

    costs = costs_by((entry for entry in ledger.entries if entry.text("session_id") in sessions), phase)
    return {name: amount for name, amount in costs.items() if name}


def _assert_summary(summary: dict[str, Any], sessions: dict[str, Any], executions: dict[str, Any]) -> None:
    every = list(sessions.values())
    assert (summary["total_sessions"], summary["total_executions"]) == (len(sessions), len(executions))
    assert summary["total_tokens"] == sum(session["total_tokens"] for session in every)
    assert summary["total_tool_calls"] == sum(session["tool_calls"] for session in every)
    assert exact(summary["total_cost_usd"]) == summed(session["total_cost_usd"] for session in every)
    most_expensive = sorted(every, key=lambda session: (-exact(session["total_cost_usd"]), session["session_id"]))
    assert summary["top_sessions"] == [
        {"session_id": session["session_id"], "cost_usd": session["total_cost_usd"], "tokens": session["total_tokens"]}
        for session in most_expensive[:5]
    ]


def _assert_runs_and_descendants(reader: Reader, ledger: ExpectedLedger) -> None:
    """Whatever circles their parents make."""
    for run in ledger.parents:
        _assert_run_costs(reader.get(f"/costs/runs/{run}"), ledger, {run})
        _assert_run_costs(
            reader.get(f"/costs/runs/{run}", include_children="true"), ledger, ledger.with_descendants({run})
        )
        assert summed(entry["amount"] for entry in reader.entries(run)) == cost(
            entry for entry in ledger.where(run_id=run) if not entry.is_unpriced
        )
    for flow in {"flow-1", *ledger.workflows.values()} - {""}:
        runs = {run for run, workflow in ledger.workflows.items() if workflow == flow}
        _assert_run_costs(reader.get("/costs/runs", workflow_id=flow), ledger, runs)
        _assert_run_costs(
            reader.get("/costs/runs", workflow_id=flow, include_children="true"),
            ledger,
            ledger.with_descendants(runs),
        )
    _assert_run_costs(reader.get("/costs/runs", include_children="true"), ledger, set(ledger.parents))


def _assert_run_costs(answer: dict[str, Any], ledger: ExpectedLedger, runs: set[str]) -> None:
    entries = [entry for entry in ledger.entries if entry.text("run_id") in runs]
    assert exact(answer["total_cost"]) == cost(entries)
    assert summed(answer["costs_by_service"].values()) == exact(answer["total_cost"])
    assert answer["costs_by_service"].keys() == answer["costs_by_group"].keys()
    for service, of_service in answer["costs_by_service"].items():
        assert summed(answer["costs_by_group"][service].values()) == exact(of_service)
    assert amounts(answer["costs_by_service"]) == costs_by(entries, lambda entry: entry.text("service") or "default")


@few
@given(
    history=histories,
    age=st.integers(0, 40),
    days=st.sampled_from((1, 1, 3)),
    edges=st.lists(st.integers(0, 60 * 24 * 9), min_size=2, max_size=2, unique=True),
)
def test_4_windows_hold_their_last_day_and_begin_and_end_at_any_moment(
    stage: Stage, history: History, age: int, days: int, edges: list[int]
) -> None:
    """One day is a window like any other. Windows of moments are half-open."""
    last = (NOW - timedelta(days=age)).date()
    first = last - timedelta(days=days - 1)
    midnights = [datetime.combine(day, time(), UTC) for day in (first, last + timedelta(days=1))]
    moments = [NOW - timedelta(minutes=minutes) for minutes in (max(edges), min(edges))]
    with stage.after(history):
        for reader, ledger in readers(stage):
            _assert_window(reader, ledger.within(*midnights), first.isoformat(), last.isoformat())
            _assert_window(reader, ledger.within(*moments), *(moment.isoformat() for moment in moments))


def _assert_window(reader: Reader, entries: list[Entry], start: str, end: str) -> None:
    window: dict[str, Any] = {"start_date": start, "end_date": end}
    money = cost(entries)
    assert summed(row["spend"] for row in reader.log_rows(**window)) == money
    days = reader.log_days(**window)
    by_day = costs_by(entries, lambda entry: entry.day.isoformat())
    assert known((day["startTime"], exact(day["spend"])) for day in days) == by_day
    for day in days:
        for parts in ("users", "models"):
            assert summed(day[parts].values()) == exact(day["spend"])
    daily = reader.daily(**window)
    costs: dict[str, Decimal] = {}
    for item in daily:
        costs[item["date_key"]] = costs.get(item["date_key"], ZERO) + exact(item["total_cost"])
    assert known(costs.items()) == by_day
    assert sum(item["run_count"] for item in daily) == total(entries)["requests"]
    usage = reader.usage(**window)
    assert (exact(usage["cost_usd"]), usage["requests"]) == (money, total(entries)["requests"])
    runs = reader.get("/costs/runs", **window)
    assert exact(runs["total_cost"]) == cost(entry for entry in entries if entry.text("run_id"))
    groups = [row for page in reader.groups(50, **window) for row in page]
    assert summed(row["total_cost"] for row in groups) == cost(entry for entry in entries if entry.text("group_id"))
    tags = reader.get("/spend/tags", **window)
    assert summed(tag["total_spend"] for tag in tags) == cost(entry for _, entry in by_tag(entries))


def test_8_the_smallest_amounts_are_written_out(stage: Stage) -> None:
    """Without an exponent where they are text, and without the noise of binary fractions where they are numbers."""
    costs = ("0.0000000001", "0.35", "0.1", "12.3456789")
    call = {"age": 0, "run_id": "run-1", "session_id": "session-1", "group_id": "group-1", "user_id": "ada"}
    calls = [{**call, "cost_usd": amount, "tags": ["a"], "model": f"model-{amount}"} for amount in costs]
    with stage.after(History([(0, ("send", calls))])):
        reader, ledger = next(readers(stage))
        assert reader.get("/costs/runs")["total_cost"] == 12.7956789001
        assert reader.get("/costs/summary")["total_cost_usd"] == "12.7956789001"
        session = reader.get("/costs/sessions/session-1")
        assert session["cost_by_model"]["model-0.0000000001"] == "0.0000000001"
        _assert_totals(reader, ledger, total(ledger.entries))
        _assert_breakdowns(reader, ledger)


@pytest.mark.parametrize("amount", ["0.1", "0.0000000001"])
def test_the_comparison_can_fail(stage: Stage, amount: str) -> None:
    with stage.after(History([(0, ("send", [{"age": 0, "cost_usd": amount, "run_id": "run-1"}]))])):
        reader, ledger = next(readers(stage))
        ledger.entries[0].sums["token_cost_usd"] += Decimal("0.0000000001")
        with pytest.raises(AssertionError):
            _assert_totals(reader, ledger, total(ledger.entries))
        with pytest.raises(AssertionError):
            _assert_run_costs(reader.get("/costs/runs/run-1"), ledger, {"run-1"})
