"""Voids and manual costs are appended adjustments."""

from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.db.models import Sum

from billing.ledger.corrections import adjust, void
from billing.ledger.net_cost import AMOUNTS, COUNTS, load_adjusted_event
from billing.ledger.price_unpriced import price_unpriced
from billing.ledger.types import LedgerEntry
from billing.models import IngestBatch, Run, UnpricedEvent, UsageEvent
from billing.models.rollups import UsageHour
from billing.reports.events import explain
from billing.rollups.definitions import ROLLUPS, Merge
from billing.rollups.fold import fold
from costtrack.errors import ConflictError, InvalidError, NotFoundError
from costtrack.ids import batch_of
from organizations.models import AuditEntry, Organization
from tests.usage import NOW, Send, set_price, total_cost

WHO = "owner@acme.example"
CALL = {"model": "m", "input_tokens": 1_000_000, "output_tokens": 7, "reasoning_tokens": 3, "duration_ms": 12.5}


def event() -> UsageEvent:
    return UsageEvent.objects.exclude(kind="adjustment").get()


# Excludes negative amounts (`billing.models.ScopeHour`).
NOT_TAKEN_BACK = "charged_usd"


def live_sums(organization: Organization) -> dict[tuple[str, str], Decimal]:
    """The totals of every rollup that are not zero, by rollup and measure."""
    sums = {}
    for rollup in ROLLUPS:
        names = [measure.column for measure in rollup.measures if measure.merge is Merge.SUM]
        names = [name for name in names if name != NOT_TAKEN_BACK]
        rows = rollup.model.live()._default_manager.filter(organization=organization)
        for name, amount in rows.aggregate(**{f"sum_{name}": Sum(name) for name in names}).items():
            if amount:
                sums[rollup.name, name.removeprefix("sum_")] = amount
    return sums


# --- Void ------------------------------------------------------------------------------------------------------


def test_a_voided_event_counts_and_costs_nothing_in_any_rollup(organization: Organization, send: Send) -> None:
    set_price("m", input="3", output="10")
    everywhere = {
        "run_id": "r",
        "workflow_id": "w",
        "session_id": "s",
        "group_id": "g",
        "tags": ["x", "y"],
        "execution_id": "e",
        "end_user": "c",
    }
    send({**CALL, **everywhere, "compute_cost_usd": "0.5", "tool_use_tokens": 2})
    fold(now=NOW)
    assert len({rollup for rollup, _ in live_sums(organization)}) == len(ROLLUPS)

    done = void(organization=organization, event_id=event().pk, reason="sent twice", actor=WHO, now=NOW)

    assert live_sums(organization) == {}
    fold(now=NOW)
    assert live_sums(organization) == {}
    assert (done.cost_before_usd, done.cost_now_usd) == (Decimal("3.50007"), 0)
    assert load_adjusted_event(event()).is_voided
    assert explain(event()).cost_now_usd == 0


def test_the_row_says_what_was_done_why_and_by_whom_and_is_a_batch_of_its_own(
    organization: Organization, send: Send
) -> None:
    send({**CALL, "id": "a", "cost_usd": "1.25", "run_id": "r"})

    row = void(organization=organization, event_id=event().pk, reason="  a \n test ", actor=WHO, now=NOW).adjustment

    assert (row.kind, row.adjusts, row.adjustment_reason) == ("adjustment", event().pk, "a test")
    assert row.metadata == {"correction": {"kind": "void", "actor": WHO, "reason": "a test"}}
    assert (row.requests, row.turns, row.input_tokens, row.token_cost_usd) == (-1, -1, -1_000_000, Decimal("-1.25"))
    assert row.duration_ms == Decimal("-12.5")
    assert (row.run_id, row.occurred_at, row.cost_source) == ("r", event().occurred_at, "adjusted")
    batch = IngestBatch.objects.get(pk=batch_of(row.pk))
    assert (batch.format, batch.accepted, batch.cost_usd, batch.folded_at) == ("adjustment", 1, Decimal("-1.25"), None)


def test_a_correction_is_audited_with_both_costs(organization: Organization, send: Send) -> None:
    send({"model": "new", "input_tokens": 5})

    adjust(organization=organization, event_id=event().pk, cost_usd=Decimal("2.5"), reason="bill", actor=WHO, now=NOW)
    void(organization=organization, event_id=event().pk, reason="test", actor="ct_key", now=NOW)

    adjusted, voided = AuditEntry.objects.of(organization).order_by("id")
    assert (adjusted.action, adjusted.actor, adjusted.subject) == ("event.adjusted", WHO, str(event().pk))
    assert (adjusted.details["cost_before_usd"], adjusted.details["cost_now_usd"]) == (None, "2.5")
    assert (voided.action, voided.actor, voided.details["reason"]) == ("event.voided", "ct_key", "test")
    assert (voided.details["cost_before_usd"], voided.details["cost_now_usd"]) == ("2.5", "0")


def test_a_voided_event_does_not_wait_for_a_price_any_more(organization: Organization, send: Send) -> None:
    send({"model": "new", "input_tokens": 5})

    void(organization=organization, event_id=event().pk, reason="test", actor=WHO, now=NOW)
    set_price("new", input="3")

    assert not UnpricedEvent.objects.exists()
    assert price_unpriced(organization=organization, now=NOW) == 0
    assert live_sums(organization) == {}


def test_an_event_that_was_priced_and_adjusted_is_voided_as_it_stands(organization: Organization, send: Send) -> None:
    send({"model": "new", "input_tokens": 1_000_000})
    set_price("new", input="3")
    price_unpriced(organization=organization, now=NOW)
    adjust(organization=organization, event_id=event().pk, cost_usd=Decimal(7), reason="bill", actor=WHO, now=NOW)

    done = void(organization=organization, event_id=event().pk, reason="test", actor=WHO, now=NOW)

    assert done.adjustment.token_cost_usd == -7
    assert live_sums(organization) == {}


def test_a_voided_event_sent_again_is_a_duplicate(organization: Organization, send: Send) -> None:
    send({"id": "a", "cost_usd": "1"})
    void(organization=organization, event_id=event().pk, reason="test", actor=WHO, now=NOW)

    assert send({"id": "a", "cost_usd": "1"}).duplicates == 1
    assert total_cost(UsageEvent.objects.of(organization)) == 0


def test_a_correction_does_not_change_the_workflow_of_a_run(organization: Organization, send: Send) -> None:
    """The event may name an outdated workflow."""
    send({**CALL, "run_id": "r", "workflow_id": "old"})
    send({"run_id": "r", "workflow_id": "new", "status": "failure"})
    first = UsageEvent.objects.get(workflow_id="old")

    void(organization=organization, event_id=first.pk, reason="sent twice", actor=WHO, now=NOW)

    assert Run.objects.of(organization).get(run_id="r").workflow_id == "new"


# --- Adjust ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "cost", "token_cost", "compute_cost"),
    [
        ({"model": "m", "cost_usd": "1"}, "1.25", "1.25", "0"),
        ({"model": "m", "cost_usd": "1", "compute_cost_usd": "0.5"}, "4", "3.5", "0.5"),
        ({"model": "m", "cost_usd": "1", "compute_cost_usd": "0.5"}, "0.2", "0", "0.2"),
        ({"model": "m", "cost_usd": "1", "compute_cost_usd": "0.5"}, "0", "0", "0"),
        ({"model": "new", "input_tokens": 9}, "0.000000000000000000000001", "0.000000000000000000000001", "0"),
        ({"kind": "tool_call", "tool": "t", "cost_usd": "1"}, "3", "0", "3"),
        ({"kind": "compute", "cost_usd": "1"}, "0", "0", "0"),
    ],
)
def test_an_adjusted_event_costs_exactly_that(
    body: dict[str, str], cost: str, token_cost: str, compute_cost: str, organization: Organization, send: Send
) -> None:
    send(body)

    done = adjust(
        organization=organization, event_id=event().pk, cost_usd=Decimal(cost), reason="bill", actor=WHO, now=NOW
    )

    adjusted_event = load_adjusted_event(event())
    assert done.cost_now_usd == adjusted_event.cost_usd == Decimal(cost)
    assert adjusted_event.amount("token_cost_usd") == Decimal(token_cost)
    assert adjusted_event.amount("compute_cost_usd") == Decimal(compute_cost)
    assert total_cost(UsageEvent.objects.of(organization)) == Decimal(cost)
    assert adjusted_event.count("requests") == (event().kind == "model_call")


def test_an_event_without_a_known_cost_that_is_adjusted_leaves_the_queue(
    organization: Organization, send: Send
) -> None:
    send({"model": "new", "input_tokens": 5}, now=NOW)

    adjust(organization=organization, event_id=event().pk, cost_usd=Decimal(0), reason="free", actor=WHO, now=NOW)

    assert not UnpricedEvent.objects.exists()
    assert UsageHour.live().objects.of(organization).aggregate(Sum("unpriced")) == {"unpriced__sum": 0}
    assert explain(event()).cost_now_usd == 0


def test_an_event_can_be_adjusted_again(organization: Organization, send: Send) -> None:
    send({"cost_usd": "1"})
    for cost in ("2", "0.5", "3"):
        adjust(
            organization=organization, event_id=event().pk, cost_usd=Decimal(cost), reason="bill", actor=WHO, now=NOW
        )
    assert total_cost(UsageEvent.objects.of(organization)) == 3
    assert [correction.reason for correction in load_adjusted_event(event()).corrections] == ["bill"] * 3


# --- Errors -------------------------------------------------------------------------------------------


def test_a_correction_that_changes_nothing_is_refused(organization: Organization, send: Send) -> None:
    send({"cost_usd": "1.50"})
    with pytest.raises(ConflictError) as refused:
        adjust(organization=organization, event_id=event().pk, cost_usd=Decimal("1.5"), reason="x", actor=WHO, now=NOW)
    assert refused.value.code == "nothing_to_adjust"
    assert UsageEvent.objects.count() == 1


def test_a_voided_event_is_corrected_no_more(organization: Organization, send: Send) -> None:
    send({"cost_usd": "1"})
    void(organization=organization, event_id=event().pk, reason="x", actor=WHO, now=NOW)
    with pytest.raises(ConflictError, match="already voided"):
        void(organization=organization, event_id=event().pk, reason="x", actor=WHO, now=NOW)
    with pytest.raises(ConflictError, match="already voided"):
        adjust(organization=organization, event_id=event().pk, cost_usd=Decimal(5), reason="x", actor=WHO, now=NOW)
    assert UsageEvent.objects.count() == 2


def test_an_adjustment_cannot_be_corrected_and_names_its_event(organization: Organization, send: Send) -> None:
    send({"cost_usd": "1"})
    row = void(organization=organization, event_id=event().pk, reason="x", actor=WHO, now=NOW).adjustment
    with pytest.raises(ConflictError) as refused:
        void(organization=organization, event_id=row.pk, reason="x", actor=WHO, now=NOW)
    assert (refused.value.code, refused.value.extra) == ("is_adjustment", {"adjusts": str(event().pk)})


def test_a_summary_is_replaced_by_another_and_not_voided(organization: Organization, send: Send) -> None:
    send({"kind": "session_summary", "session_id": "s", "cost_usd": "1"})
    with pytest.raises(ConflictError) as refused:
        void(organization=organization, event_id=event().pk, reason="x", actor=WHO, now=NOW)
    assert refused.value.code == "is_session_summary"


def test_another_organizations_event_is_like_an_unknown_one(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    send({"cost_usd": "1"}, to=other_organization)
    for event_id in (event().pk, uuid4(), UUID(int=0), UUID(int=2**128 - 1)):
        with pytest.raises(NotFoundError, match="No such event"):
            void(organization=organization, event_id=event_id, reason="x", actor=WHO, now=NOW)
    assert UsageEvent.objects.count() == 1


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 256, "a\0b"])
def test_a_reason_is_needed_and_fits(reason: str, organization: Organization, send: Send) -> None:
    send({"cost_usd": "1"})
    with pytest.raises(InvalidError) as refused:
        void(organization=organization, event_id=event().pk, reason=reason, actor=WHO, now=NOW)
    assert refused.value.param == "reason"


@pytest.mark.parametrize("cost", ["-1", "NaN", "Infinity", "1e12", "1e-25"])
def test_a_cost_that_no_column_holds_is_refused(cost: str, organization: Organization, send: Send) -> None:
    send({"cost_usd": "1"})
    with pytest.raises(InvalidError) as refused:
        adjust(organization=organization, event_id=event().pk, cost_usd=Decimal(cost), reason="x", actor=WHO, now=NOW)
    assert refused.value.param == "cost_usd"


# --- Completeness ----------------------------------------------------------------------------------------------


def test_all_that_any_rollup_adds_up_is_taken_back() -> None:
    summed = {measure.column for rollup in ROLLUPS for measure in rollup.measures if measure.merge is Merge.SUM}
    # (Scopes have both costs in one, and errors are the requests of events that failed.)
    assert summed - {"summaries", "cost_usd", "errors", NOT_TAKEN_BACK} == {*COUNTS, *AMOUNTS}
    assert {*COUNTS, *AMOUNTS} <= set(LedgerEntry.__struct_fields__)
