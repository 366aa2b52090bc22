"""Whatever was sent, in whatever order, folded or not: sessions, executions, the summary and runs add up."""

import random
from collections.abc import Iterator
from decimal import Decimal
from itertools import cycle
from typing import Any

import msgspec
import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.ingest import json_events
from billing.ingest.services import ingest
from billing.models import Run
from billing.reports.runs import get_run_costs, get_total_run_costs
from billing.reports.sessions.executions import ExecutionCosts, get_execution_costs, list_executions
from billing.reports.sessions.lists import SessionCosts, get_session_costs, list_execution_sessions, list_sessions
from billing.reports.sessions.summary import get_session_summary
from billing.rollups.fold import fold_organization
from costtrack.calendar import Window
from costtrack.money import ZERO
from organizations.models import Organization
from tests.profiles import examples
from tests.usage import NOW

SESSIONS, EXECUTIONS, RUNS = ("s-1", "s-2", "s-3"), ("e-1", "e-2"), ("r-1", "r-2", "r-3")
amounts = st.sampled_from(("0", "0.1", "0.0000000001", "3", "0.000000000000000000000001"))
dimensions = st.fixed_dictionaries(
    {
        "session_id": st.sampled_from(("", *SESSIONS)),
        "execution_id": st.sampled_from(("", *EXECUTIONS)),
        "phase_id": st.sampled_from(("", "plan", "build")),
        "run_id": st.sampled_from(RUNS),
        "parent_run_id": st.sampled_from(("", *RUNS)),
        "service": st.sampled_from(("", "openai", "anthropic")),
        "model": st.sampled_from(("", "gpt-4o", "o3")),
        "occurred_at": st.sampled_from(("2026-10-01T09:00:00Z", "2026-10-02T09:00:00Z")),
    }
)
events = st.builds(
    lambda index, more: {**index, **more},
    dimensions,
    st.one_of(
        st.fixed_dictionaries({"cost_usd": amounts, "input_tokens": st.integers(0, 100)}),
        st.fixed_dictionaries(
            {"kind": st.just("tool_call"), "tool": st.sampled_from(("", "Read", "Bash")), "cost_usd": amounts}
        ),
        st.fixed_dictionaries({"kind": st.just("compute"), "cost_usd": amounts}),
    ),
)
summaries = st.builds(
    lambda index, session, reported: {**index, "session_id": session, "kind": "session_summary", **reported},
    dimensions,
    st.sampled_from(SESSIONS),
    st.fixed_dictionaries(
        {},
        optional={
            "cost_usd": amounts,
            "compute_cost_usd": amounts,
            "turns": st.integers(0, 9),
            "tool_calls": st.integers(0, 9),
            "input_tokens": st.integers(0, 500),
            "duration_ms": st.sampled_from((0, 12.5)),
        },
    ),
)
sent = st.lists(st.lists(st.one_of(events, summaries), min_size=1, max_size=5), min_size=1, max_size=5)


@pytest.mark.django_db
@examples(6)
@given(batches=sent, folds=st.lists(st.booleans(), min_size=1, max_size=5), seed=st.integers(0, 9))
def test_everything_adds_up(batches: list[list[dict[str, Any]]], folds: list[bool], seed: int) -> None:
    with transaction.atomic():
        acme, globex = (Organization.objects.create(slug=slug, name=slug) for slug in ("acme", "globex"))
        numbered = [
            [{**event, "id": f"{at}-{index}"} for index, event in enumerate(batch)] for at, batch in enumerate(batches)
        ]
        for organization, folded in zip((acme, globex), (cycle(folds), cycle(folds[::-1])), strict=True):
            for batch, is_folded in zip(twice(numbered, seed), folded, strict=False):
                take_in(organization, batch, is_folded=is_folded)
        of_acme, of_globex = everything(acme), everything(globex)
        check_sums(acme, numbered)
        for organization in (acme, globex):
            fold_organization(organization_id=organization.pk, now=NOW)
        assert everything(acme) == of_acme == of_globex == everything(globex)
        transaction.set_rollback(True)


def twice(batches: list[list[dict[str, Any]]], seed: int) -> Iterator[list[dict[str, Any]]]:
    """Each batch, and at some time after it once more: nothing of it counts again."""
    generator = random.Random(seed)
    for number, batch in enumerate(batches):
        yield batch
        yield generator.choice(batches[: number + 1])
    yield from generator.sample(batches, len(batches))


def take_in(organization: Organization, batch: list[dict[str, Any]], *, is_folded: bool) -> None:
    bodies = [{name: value for name, value in event.items() if value != ""} for event in batch]
    parsed = json_events.parse(msgspec.json.encode(bodies), content_type="", max_events=100, now=NOW)
    result = ingest(organization=organization, credential=None, format="json", parsed=parsed, now=NOW)
    assert result.is_complete
    if is_folded:
        fold_organization(organization_id=organization.pk, now=NOW)


def everything(organization: Organization) -> tuple[Any, ...]:
    """What the reports say of an organization."""
    sessions = list_sessions(organization=organization, limit=50).rows
    executions = list_executions(organization=organization, limit=50).rows
    return (
        sessions,
        executions,
        get_session_summary(organization=organization),
        [get_session_costs(organization=organization, session_id=item.session_id) for item in sessions],
        [get_execution_costs(organization=organization, execution_id=item.execution_id) for item in executions],
        [list_execution_sessions(organization=organization, execution_id=name, limit=50).rows for name in EXECUTIONS],
    )


def check_sums(organization: Organization, batches: list[list[dict[str, Any]]]) -> None:
    reported = [event for batch in batches for event in batch]
    sessions, executions, summary, each_session, each_execution, of_executions = everything(organization)
    assert {item.session_id for item in sessions} == {event["session_id"] for event in reported} - {""}
    assert sorted(each_session, key=session_id) == sorted(sessions, key=session_id)
    assert each_execution == executions
    for session in sessions:
        check_session(session, [event for event in reported if event["session_id"] == session.session_id])
    for execution in executions:
        members = [item for item in sessions if item.execution_id == execution.execution_id]
        check_execution(execution, members)
    assert [[item.session_id for item in listed] for listed in of_executions] == [
        [
            item.session_id
            for item in sorted(sessions, key=lambda item: (item.started_at, item.session_id))
            if item.execution_id == name
        ]
        for name in EXECUTIONS
    ]
    check_summary(summary, sessions, executions)
    check_runs(organization)


def session_id(session: SessionCosts) -> str:
    return session.session_id


def check_session(session: SessionCosts, reported: list[dict[str, Any]]) -> None:
    totals = session.totals
    assert totals.cost_usd == totals.token_cost_usd + totals.compute_cost_usd
    assert sum(session.cost_by_model.values(), ZERO) == totals.token_cost_usd
    assert sum(session.cost_by_tool.values(), ZERO) == totals.compute_cost_usd
    ends = [event for event in reported if event.get("kind") == "session_summary"]
    assert session.is_finalized == bool(ends) == (session.completed_at is not None)
    if not ends:
        assert totals.cost_usd == sum((Decimal(event["cost_usd"]) for event in reported), ZERO)
        assert totals.tool_calls == sum(event.get("kind") == "tool_call" for event in reported)


def check_execution(execution: ExecutionCosts, members: list[SessionCosts]) -> None:
    assert sorted(execution.session_ids) == sorted(map(session_id, members))
    for name in ("cost_usd", "token_cost_usd", "compute_cost_usd", "tokens", "tool_calls", "turns", "duration_ms"):
        assert getattr(execution.totals, name) == sum((getattr(item.totals, name) for item in members), ZERO)
    assert sum(execution.cost_by_model.values(), ZERO) == execution.totals.token_cost_usd
    assert sum(execution.cost_by_tool.values(), ZERO) == execution.totals.compute_cost_usd
    in_phases = sum((item.totals.cost_usd for item in members if item.phase_id), ZERO)
    assert sum(execution.cost_by_phase.values(), ZERO) == in_phases
    assert execution.is_complete == (bool(members) and all(item.is_finalized for item in members))


def check_summary(summary: Any, sessions: list[SessionCosts], executions: list[ExecutionCosts]) -> None:
    assert summary.totals.cost_usd == sum((item.totals.cost_usd for item in sessions), ZERO)
    assert summary.totals.turns == sum(item.totals.turns for item in sessions)
    assert (summary.sessions, summary.executions) == (len(sessions), len(executions))
    ranked = sorted(sessions, key=lambda item: (-item.totals.cost_usd, item.session_id))
    assert list(summary.top_sessions) == [
        (item.session_id, item.totals.cost_usd, item.totals.tokens) for item in ranked
    ]
    costs: dict[str, Decimal] = {}
    for item in sessions:
        for model, cost in item.cost_by_model.items():
            costs[model] = costs.get(model, ZERO) + cost
    assert {model: cost for model, cost in summary.top_models if cost} == {m: cost for m, cost in costs.items() if cost}


def check_runs(organization: Organization) -> None:
    """Every run once, however the tree is bent."""
    window = Window(None, None)
    everyone = get_total_run_costs(
        organization=organization, workflow_id=None, window=window, include_children=True, now=NOW
    )
    for service, groups in everyone.by_group.items():
        assert sum(groups.values(), ZERO) == everyone.by_service[service]
    assert sum(everyone.by_service.values(), ZERO) == everyone.total
    parents = dict(Run.objects.of(organization).values_list("run_id", "parent_run_id"))
    alone = {run: cost_of(organization, run, include_children=False) for run in parents}
    assert sum(alone.values(), ZERO) == everyone.total
    for run in parents:
        tree = {run}
        while more := {child for child, parent in parents.items() if parent in tree} - tree:
            tree |= more
        assert cost_of(organization, run, include_children=True) == sum((alone[item] for item in tree), ZERO)


def cost_of(organization: Organization, run_id: str, *, include_children: bool) -> Decimal:
    return get_run_costs(organization=organization, run_id=run_id, include_children=include_children, now=NOW).total
