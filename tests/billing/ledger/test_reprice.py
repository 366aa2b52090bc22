"""Repricing of a period at current prices, by adjustments, with a dry run first."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from billing.ledger import repricings
from billing.ledger.adjustments import Correction
from billing.ledger.corrections import adjust, void
from billing.ledger.price_unpriced import price_unpriced
from billing.ledger.reprice import ModelFigures, Selection
from billing.ledger.repricings import figures_of, request_repricing, run_next_step
from billing.models import IngestBatch, PriceVersion, Repricing, Session, UsageEvent
from billing.pricing.conditions import Rates
from billing.pricing.services import create_price
from billing.reports.events import explain
from billing.tasks import reprice_task
from billing.types import CorrectionKind, RepricingState
from costtrack.errors import ConflictError, InvalidError
from organizations.models import AuditEntry, Organization
from tests.usage import NOW, Send, set_price, total_cost

WHO = "owner@acme.example"
DAY = Selection(NOW - timedelta(days=1), NOW + timedelta(days=1))
CALL = {"service": "openai", "model": "m", "input_tokens": 1_000_000}


def now_costs(amount: str, *, model: str = "m", since: datetime = datetime(2020, 1, 1, tzinfo=UTC)) -> PriceVersion:
    """Set the price of a million tokens of the model from that time on, which may be in the past."""
    prices = Rates({"input": Decimal(amount)})
    return create_price(organization=None, model=model, rates=prices, effective_from=since, actor="tests")


def reprice(organization: Organization, selection: Selection = DAY, *, dry_run: bool = False) -> Repricing:
    return repricings.reprice(
        organization=organization,
        selection=selection,
        dry_run=dry_run,
        reason="new contract",
        actor=WHO,
        now=NOW,
        progress=lambda _: None,
    )


def total(organization: Organization) -> Decimal:
    return total_cost(UsageEvent.objects.of(organization))


# --- What it does ----------------------------------------------------------------------------------------------


def test_each_call_costs_what_the_price_of_now_says_for_its_instant(organization: Organization, send: Send) -> None:
    set_price("m", input="3")
    send({**CALL, "id": "early", "occurred_at": "2026-11-02T10:00:00Z"}, {**CALL, "id": "late", "run_id": "r"})
    price = now_costs("2", since=datetime(2026, 11, 2, 11, tzinfo=UTC))

    done = reprice(organization)

    assert (done.state, done.events, done.changed, done.left_alone) == ("done", 2, 1, 0)
    assert (done.old_usd, done.new_usd, done.difference_usd) == (6, 5, -1)
    (row,) = UsageEvent.objects.filter(kind="adjustment")
    event = UsageEvent.objects.get(event_id="late")
    assert (row.adjusts, row.token_cost_usd, row.price_version_id, row.run_id) == (event.pk, -1, price.pk, "r")
    assert (row.requests, row.unpriced, row.adjustment_reason) == (0, 0, "repriced")
    assert Correction.of(row) == Correction(CorrectionKind.REPRICE, WHO, "new contract", NOW)
    assert explain(event).cost_now_usd == 2
    assert explain(event).price == price
    assert IngestBatch.objects.filter(format="adjustment").count() == 1


def test_a_dry_run_says_the_same_and_changes_nothing(organization: Organization, send: Send) -> None:
    set_price("m", input="3")
    set_price("n", input="1")
    send(CALL, CALL, {**CALL, "model": "n"}, {**CALL, "model": "n", "service": ""})
    now_costs("2.000000000001")
    before = list(UsageEvent.objects.order_by("pk").values())

    dry = reprice(organization, dry_run=True)

    assert list(UsageEvent.objects.order_by("pk").values()) == before
    assert not AuditEntry.objects.filter(action__startswith="repricing").exists()
    expected = [
        ModelFigures("openai", "m", 2, 2, 0, Decimal(6), Decimal("4.000000000002")),
        ModelFigures("", "n", 1, 0, 0, Decimal(1), Decimal(1)),
        ModelFigures("openai", "n", 1, 0, 0, Decimal(1), Decimal(1)),
    ]
    assert figures_of(dry) == expected
    assert figures_of(reprice(organization)) == expected
    assert total(organization) == Decimal("6.000000000002")


def test_a_second_run_changes_nothing(organization: Organization, send: Send) -> None:
    set_price("m", input="3")
    send(CALL, CALL)
    now_costs("2.5")
    reprice(organization)

    again = reprice(organization)

    assert (again.events, again.changed, again.difference_usd) == (2, 0, 0)
    assert UsageEvent.objects.count() == 4
    assert total(organization) == 5


def test_prices_that_change_back_and_forth_leave_the_cost_of_the_last_one(
    organization: Organization, send: Send
) -> None:
    set_price("m", input="3")
    send(CALL)
    for amount in ("1", "8", "0"):
        now_costs(amount)
        assert reprice(organization).new_usd == total(organization) == Decimal(amount)


def test_a_call_that_was_priced_later_is_repriced_like_any_other(organization: Organization, send: Send) -> None:
    send(CALL)
    set_price("m", input="3")
    price_unpriced(organization=organization, now=NOW)
    now_costs("2")

    assert reprice(organization).changed == 1
    assert total(organization) == 2


# --- Which events ----------------------------------------------------------------------------------------------


def test_the_end_is_not_in_the_period(organization: Organization, send: Send) -> None:
    set_price("m", input="3")
    hours = (9, 10, 11, 12)
    send(*({**CALL, "id": str(hour), "occurred_at": f"2026-11-02T{hour:02}:00:00Z"} for hour in hours))
    now_costs("2")

    reprice(organization, Selection(NOW - timedelta(hours=2), NOW))

    adjusted = UsageEvent.objects.filter(kind="adjustment").values_list("occurred_at", flat=True)
    assert sorted(instant.hour for instant in adjusted) == [10, 11]


@pytest.mark.parametrize(
    ("named", "changed"), [({"model": "m"}, 2), ({"service": "azure"}, 1), ({"service": "azure", "model": "n"}, 0)]
)
def test_a_service_or_a_model_can_be_named(
    named: dict[str, str], changed: int, organization: Organization, send: Send
) -> None:
    for model in ("m", "n"):
        set_price(model, input="3")
    send(CALL, {**CALL, "service": "azure"}, {**CALL, "model": "n"})
    for model in ("m", "n"):
        now_costs("2", model=model)

    assert reprice(organization, Selection(DAY.start, DAY.end, **named)).changed == changed


def test_another_organizations_calls_are_not_touched(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    set_price("m", input="3")
    send(CALL)
    send(CALL, to=other_organization)
    now_costs("2")

    reprice(organization)

    assert (total(organization), total(other_organization)) == (2, 3)


def test_what_others_have_said_is_left_alone(organization: Organization, send: Send) -> None:
    set_price("m", input="3")
    send(
        {**CALL, "id": "voided"},
        {**CALL, "id": "adjusted"},
        {**CALL, "id": "in a summary", "session_id": "s"},
        {**CALL, "id": "reported", "cost_usd": "9"},
        {"kind": "tool_call", "tool": "t", "cost_usd": "4"},
        {"kind": "session_summary", "session_id": "s", "cost_usd": "6"},
        {**CALL, "id": "waiting", "model": "unheard-of"},
    )
    ids = {event.event_id: event.pk for event in UsageEvent.objects.all()}
    why: dict[str, Any] = {"organization": organization, "reason": "bill", "actor": WHO, "now": NOW}
    void(event_id=ids["voided"], **why)
    adjust(event_id=ids["adjusted"], cost_usd=Decimal(1), **why)
    before = total(organization)
    now_costs("2")

    done = reprice(organization)

    assert (done.events, done.changed, done.left_alone) == (0, 0, 4)
    assert total(organization) == before
    session = Session.live().objects.of(organization).filter(session_id="s")
    assert sum(row.token_cost_usd for row in session) == 6


def test_a_call_that_no_price_covers_any_more_keeps_its_cost(organization: Organization, send: Send) -> None:
    price = set_price("m", input="3")
    send(CALL)
    PriceVersion.objects.filter(pk=price.pk).update(effective_to=price.effective_from)
    set_price("other", input="1")  # reloads the price book

    assert (reprice(organization).left_alone, total(organization)) == (1, 3)


def test_calls_without_tokens_stay_what_they_were(organization: Organization, send: Send) -> None:
    price = set_price("m", request="0.5")
    send({"id": "failed", "model": "m", "status": "failure"}, {"id": "never said", "model": "m"})
    assert total(organization) == Decimal("0.5")
    PriceVersion.objects.filter(pk=price.pk).update(effective_to=price.effective_from)
    set_price("m", input="3", request="0.75")
    assert (reprice(organization).changed, total(organization)) == (1, Decimal("0.75"))

    now_costs("3")
    done = reprice(organization)
    assert (done.changed, done.left_alone, total(organization)) == (0, 1, Decimal("0.75"))


# --- As work ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repricings, "_STEP", 3)


@pytest.mark.usefixtures("small_steps")
def test_steps_walk_over_calls_of_one_instant_without_loss(organization: Organization, send: Send) -> None:
    set_price("m", input="1")
    send(*(CALL for _ in range(7)), *({**CALL, "occurred_at": "2026-11-02T10:00:00Z"} for _ in range(5)))
    now_costs("2")
    seen = []

    done = repricings.reprice(
        organization=organization,
        selection=DAY,
        dry_run=False,
        reason="r",
        actor=WHO,
        now=NOW,
        progress=lambda repricing: seen.append((repricing.processed, repricing.total)),
    )

    assert seen == [(3, 12), (6, 12), (9, 12), (12, 12), (12, 12)]
    assert (done.changed, total(organization)) == (12, 24)


def request(organization: Organization, *, dry_run: bool, reason: str = "new contract") -> Repricing:
    return request_repricing(
        organization=organization, selection=DAY, dry_run=dry_run, reason=reason, actor=WHO, now=NOW
    )


@pytest.mark.usefixtures("small_steps")
def test_workers_do_it_step_by_step_and_one_that_dies_is_followed_by_another(
    organization: Organization, send: Send, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    set_price("m", input="1")
    send(*(CALL for _ in range(5)))
    now_costs("2")
    with django_capture_on_commit_callbacks() as queued:
        requested = request(organization, dry_run=False)
    assert (requested.state, len(queued)) == ("queued", 1)

    with django_capture_on_commit_callbacks() as queued:
        reprice_task(requested.pk)
    half = Repricing.objects.get()
    assert (half.state, half.changed, total(organization)) == ("running", 3, 8)
    assert len(queued) == 2  # the next step, and the fold of what this one has written

    # The worker of the next step is gone; the beat schedule's task finds the stalled repricing.
    Repricing.objects.update(touched_at=NOW - timedelta(days=30))
    reprice_task()
    reprice_task(requested.pk)  # delivered twice, and nothing is left to do
    done = Repricing.objects.get()
    assert (done.state, done.changed, total(organization)) == ("done", 5, 10)
    actions = AuditEntry.objects.filter(action__startswith="repricing").order_by("id")
    assert list(actions.values_list("action", "actor")) == [("repricing.started", WHO), ("repricing.finished", WHO)]
    assert actions[1].details["difference_usd"] == "5"


def test_a_dry_run_over_few_events_is_answered_at_once_and_a_long_one_is_work(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(CALL, CALL)
    assert request(organization, dry_run=True, reason="").is_finished

    monkeypatch.setattr(repricings, "MAX_IMMEDIATE_ROWS", 1)
    requested = request(organization, dry_run=True)
    assert requested.state == "queued"
    reprice_task(requested.pk)
    assert figures_of(Repricing.objects.get(pk=requested.pk)) == [ModelFigures("openai", "m", left_alone=2)]


def test_an_organization_has_one_at_a_time_beside_any_number_of_dry_runs(
    organization: Organization, other_organization: Organization
) -> None:
    first = request(organization, dry_run=False)
    with pytest.raises(ConflictError) as refused:
        request(organization, dry_run=False)
    assert refused.value.code == "repricing_not_finished"
    request(organization, dry_run=True)
    request(other_organization, dry_run=False)
    run_next_step(repricing=first, now=NOW)
    request(organization, dry_run=False)


def test_one_that_cannot_go_on_is_ended_and_lets_another_begin(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_price("m", input="1")
    send(CALL)
    requested = request(organization, dry_run=False)
    monkeypatch.setattr(repricings, "reprice_step", lambda **_: 1 / 0)

    run_next_step(repricing=requested, now=NOW)

    failed = Repricing.objects.get()
    assert (failed.state, failed.finished_at) == (RepricingState.FAILED, NOW)
    assert "repricing failed" in caplog.text
    assert request(organization, dry_run=False).state == "queued"


@pytest.mark.parametrize(
    ("selection", "reason", "param"),
    [(Selection(NOW, NOW), "r", "end"), (DAY, "", "reason"), (DAY, "x" * 256, "reason")],
)
def test_a_period_and_a_reason_are_needed(
    selection: Selection, reason: str, param: str, organization: Organization
) -> None:
    with pytest.raises(InvalidError) as refused:
        request_repricing(
            organization=organization, selection=selection, dry_run=False, reason=reason, actor=WHO, now=NOW
        )
    assert refused.value.param == param
    assert not Repricing.objects.exists()
