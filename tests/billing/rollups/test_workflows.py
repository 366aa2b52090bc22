"""The costs of a run count under the workflow that was named last, before and after folding."""

import random
from decimal import Decimal
from itertools import product

import pytest

from billing.ledger.partitions import month_of
from billing.models import Run
from billing.models.rollups import WorkflowDay, WorkflowTotal
from billing.reports.runs import get_total_run_costs
from billing.rollups import workflows
from billing.rollups.fold import fold
from billing.rollups.rebuild import rebuild
from billing.rollups.retention import drop_events
from billing.rollups.verify import verify
from costtrack.calendar import ALWAYS, Window
from costtrack.clock import DAY
from organizations.models import Organization
from tests.billing.rollups.model import Counted, SentEvents
from tests.usage import NOW, Send


def call(run_id: str, workflow_id: str = "", cost: str = "1", **more: str) -> dict[str, str]:
    event = {"run_id": run_id, "workflow_id": workflow_id, "cost_usd": cost, "service": "openai", "model": "gpt-4o"}
    return {**event, "occurred_at": NOW.isoformat(), **more}


def cost(
    organization: Organization, workflow_id: str, window: Window = ALWAYS, *, include_children: bool = False
) -> Decimal:
    return get_total_run_costs(
        organization=organization, workflow_id=workflow_id, window=window, include_children=include_children, now=NOW
    ).total


def costs(organization: Organization) -> dict[str, Decimal]:
    return {workflow_id: cost(organization, workflow_id) for workflow_id in ("a", "b")}


def stored_workflows(organization: Organization) -> set[str]:
    days, totals = (
        set(model.objects.of(organization).values_list("workflow_id", flat=True))
        for model in (WorkflowDay, WorkflowTotal)
    )
    assert days == totals
    return totals


def assert_right(organization: Organization) -> None:
    """The rollup equals the ledger, and is what a rebuild makes."""
    differing = [check for check in verify(organization_id=organization.pk, now=NOW) if check.count]
    assert differing == []
    assert not any(rebuild(organization_id=organization.pk).values())


def test_a_workflow_that_is_named_later_has_all_costs_of_the_run(organization: Organization, send: Send) -> None:
    send(call("run-1", cost="1"))
    fold(now=NOW)
    assert costs(organization) == {"a": 0, "b": 0}

    send(call("run-1", "a", cost="2"))
    assert costs(organization) == {"a": 3, "b": 0}
    fold(now=NOW)
    assert costs(organization) == {"a": 3, "b": 0}
    assert_right(organization)


def test_a_run_that_changes_its_workflow_takes_its_costs_along(organization: Organization, send: Send) -> None:
    send(call("run-1", "a", cost="1"), call("run-2", "a", cost="4"), call("run-3", "b", cost="16"))
    fold(now=NOW)
    assert costs(organization) == {"a": 5, "b": 16}

    send(call("run-1", "b", cost="2"))
    assert costs(organization) == {"a": 4, "b": 19}
    fold(now=NOW)
    assert costs(organization) == {"a": 4, "b": 19}
    assert not Run.objects.filter(run_id="run-1").exclude(folded_workflow_id="b").exists()
    assert_right(organization)


def test_a_workflow_without_runs_has_no_rows(organization: Organization, send: Send) -> None:
    send(call("run-1", "a"))
    fold(now=NOW)
    send(call("run-1", "b"))
    fold(now=NOW)

    assert stored_workflows(organization) == {"b"}
    assert_right(organization)


def test_a_workflow_whose_other_runs_cost_nothing_keeps_its_row(organization: Organization, send: Send) -> None:
    nothing = call("run-2", "a", cost="0", kind="tool_call")
    send(call("run-1", "a", cost="1"), nothing)
    fold(now=NOW)
    send(call("run-1", "b", cost="1"))
    fold(now=NOW)

    assert costs(organization) == {"a": 0, "b": 2}
    assert_right(organization)


def test_a_run_can_change_back_before_it_is_folded(organization: Organization, send: Send) -> None:
    send(call("run-1", "a"))
    fold(now=NOW)
    send(call("run-1", "b"))
    send(call("run-1", "a"))

    assert costs(organization) == {"a": 3, "b": 0}
    fold(now=NOW)
    assert costs(organization) == {"a": 3, "b": 0}
    assert_right(organization)


def test_a_window_that_cuts_days_has_the_costs_of_its_events(organization: Organization, send: Send) -> None:
    at = [NOW - 3 * DAY, NOW - 2 * DAY, NOW]
    send(*(call("run-1", "a", cost=str(1 + 3 * index), occurred_at=when.isoformat()) for index, when in enumerate(at)))
    for workflow_id in ("a", "b"):
        fold(now=NOW)
        assert cost(organization, workflow_id, Window(at[0], at[2])) == 1 + 4
        assert cost(organization, workflow_id, Window(at[0], at[1])) == 1
        assert cost(organization, workflow_id, Window(at[1], None)) >= 4 + 7
        send(call("run-1", "b"))
        assert cost(organization, "a", Window(at[0], at[2])) == 0


def test_descendants_of_other_workflows_count_once_with_children(organization: Organization, send: Send) -> None:
    send(call("run-1", "a", cost="1"), call("run-2", "b", cost="2", parent_run_id="run-1"))
    send(call("run-3", "a", cost="4", parent_run_id="run-2"), call("run-4", cost="8", parent_run_id="run-3"))
    for _ in range(2):
        assert cost(organization, "a", include_children=True) == 1 + 2 + 4 + 8
        assert cost(organization, "b", include_children=True) == 2 + 4 + 8
        assert cost(organization, "b", Window(NOW - DAY, None), include_children=True) == 2 + 4 + 8
        fold(now=NOW)
    send(call("run-3", "b", cost="16"))
    for _ in range(2):
        assert cost(organization, "a", include_children=True) == 1 + 2 + 4 + 8 + 16
        assert cost(organization, "b", include_children=True) == 2 + 4 + 8 + 16
        fold(now=NOW)


@pytest.mark.parametrize(("max_ancestors", "max_runs"), [(50, 1_000), (1, 1_000), (50, 2)])
def test_workflows_have_the_costs_of_their_trees_however_runs_move(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch, max_ancestors: int, max_runs: int
) -> None:
    """Also beyond the bounds of folding. Trees may contain cycles."""
    monkeypatch.setattr(workflows, "MAX_ANCESTORS", max_ancestors)
    monkeypatch.setattr(workflows, "MAX_RUNS", max_runs)
    chance = random.Random(max_ancestors * max_runs)
    history = SentEvents()
    for step in range(16):
        for _ in range(chance.randrange(1, 4)):
            body = call(f"run-{chance.randrange(6)}", chance.choice(("", "", "a", "b")), str(2 ** chance.randrange(8)))
            body["model"] = chance.choice(("gpt-4o", "gpt-5"))
            if chance.random() < 0.4:
                body["parent_run_id"] = f"run-{chance.randrange(6)}"
            send(body)
            history.counted.append(Counted(0, body, NOW, NOW, {"token_cost_usd": Decimal(body["cost_usd"])}))
        if step % 2:
            fold(now=NOW)
        for workflow_id, with_children in product(("a", "b"), (False, True)):
            expected = history.cost_of_workflow(0, workflow_id, include_children=with_children)
            for window in (ALWAYS, Window(NOW - DAY, NOW + DAY)):
                assert cost(organization, workflow_id, window, include_children=with_children) == expected
    assert_right(organization)
    has_moved = Run.objects.filter(has_moved=True).exists()
    is_too_deep = Run.objects.filter(folded_ancestor_workflows=None).exists()
    assert (has_moved, is_too_deep) == (max_runs == 2, max_ancestors == 1)


def test_a_run_that_leaves_a_tree_takes_its_children_along(organization: Organization, send: Send) -> None:
    send(call("run-1", "a"), call("run-2", "b", parent_run_id="run-1"), call("run-3", parent_run_id="run-2", cost="2"))
    fold(now=NOW)
    assert set(WorkflowTotal.objects.values_list("workflow_id", "is_descendant", "token_cost_usd")) == {
        ("a", False, 1),
        ("a", True, 3),
        ("b", False, 1),
        ("b", True, 2),
    }
    send(call("run-2", parent_run_id="run-9"))
    fold(now=NOW)
    assert cost(organization, "a", include_children=True) == 1
    assert not WorkflowTotal.objects.filter(workflow_id="a", is_descendant=True).exists()
    assert_right(organization)


def test_dropped_events_move_with_their_run(organization: Organization, send: Send) -> None:
    send(call("run-1", "a", cost="1"), now=NOW)
    later = NOW + 40 * DAY
    send(call("run-1", "a", cost="2", occurred_at=later.isoformat()), now=later)
    fold(now=later)
    drop_events(before=month_of(later), organization=None, actor="tests", now=later, report=lambda _: None)
    assert costs(organization) == {"a": 3, "b": 0}
    assert set(WorkflowDay.objects.of(organization).values_list("archived", flat=True)) == {False, True}

    send(call("run-1", "b", cost="4", occurred_at=later.isoformat()), now=later)
    assert costs(organization) == {"a": 0, "b": 7}
    fold(now=later)
    assert costs(organization) == {"a": 0, "b": 7}
    assert stored_workflows(organization) == {"b"}
    assert_right(organization)


def test_each_organization_has_its_own_workflows(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    send(call("run-1", "a", cost="1"))
    send(call("run-1", "a", cost="8"), to=other_organization)
    fold(now=NOW)
    send(call("run-1", "b", cost="2"))
    fold(now=NOW)

    assert costs(organization) == {"a": 0, "b": 3}
    assert costs(other_organization) == {"a": 8, "b": 0}
