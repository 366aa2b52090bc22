"""After any sequence of operations, every rollup matches the ledger and a model in plain Python."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest
from django.db import connection, transaction
from django.db.models import Sum
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from billing.ingest import json_events
from billing.ingest.services import IngestResult, ingest
from billing.ledger.corrections import void
from billing.ledger.partitions import prepare
from billing.ledger.price_unpriced import price_unpriced
from billing.models import UnpricedEvent, UsageEvent
from billing.reports.runs import get_total_run_costs
from billing.rollups.definitions import ROLLUPS, WORKFLOW_DAYS, WORKFLOW_TOTALS
from billing.rollups.fold import fold, fold_organization
from billing.rollups.rebuild import rebuild
from billing.rollups.retention import drop_events, months_before
from billing.rollups.verify import verify
from costtrack.calendar import ALWAYS
from costtrack.money import ZERO
from organizations.models import Organization
from tests.billing.rollups.model import SUMS, Counted, SentEvents, columns_of, dimension_columns
from tests.profiles import examples
from tests.usage import set_price

NEW_MODELS = ("new-a", "new-b")
WORKFLOWS = ("workflow-1", "workflow-2")
HOUR, DAY = 60, 60 * 24

organizations = st.sampled_from((0, 1))
calls = st.fixed_dictionaries(
    {
        "model": st.sampled_from(("", "gpt-4o", *NEW_MODELS)),
        "status": st.sampled_from(("success", "failure")),
        "input_tokens": st.integers(0, 5_000),
        "output_tokens": st.integers(0, 5_000),
        "cost_usd": st.sampled_from(("0", "0.1", "0.000000000000000000000001", "987654321.123456789")),
        "run_id": st.sampled_from(("", "run-1", "run-2", "run-3")),
        "parent_run_id": st.sampled_from(("", "run-1", "run-2", "run-3")),
        "workflow_id": st.sampled_from(("", *WORKFLOWS)),
        "session_id": st.sampled_from(("", "session-1", "session-2")),
        "group_id": st.sampled_from(("", "group-1")),
        "agent_id": st.sampled_from(("", "agent-1", "agent-2")),
        "agent_name": st.sampled_from(("", "Ann", "Bob")),
        "execution_id": st.sampled_from(("", "execution-1", "execution-2")),
        "user_id": st.sampled_from(("", "ada", "bob")),
        "end_user": st.sampled_from(("", "customer-1")),
        "tags": st.lists(st.sampled_from(("a", "b", "c")), unique=True),
    }
)
ages_in_minutes = st.sampled_from((0, 1, HOUR, 5 * HOUR, DAY, 20 * DAY, 100 * DAY))


class CrashError(Exception):
    """Simulates the death of the process."""


class LedgerAndRollups(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.organizations = [Organization.objects.create(slug=slug, name=slug) for slug in ("acme", "globex")]
        self.now = datetime(2026, 6, 27, 22, 30, tzinfo=UTC)
        self.history = SentEvents()
        self.priced: set[str] = set()
        self.turns = 0

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    # Callers.

    @rule(number=organizations, sent=st.lists(st.tuples(calls, ages_in_minutes), min_size=1, max_size=4))
    def send_events(self, number: int, sent: list[tuple[dict[str, Any], int]]) -> None:
        new = [self._counted(number, call, age, index) for index, (call, age) in enumerate(sent)]
        assert self._send(number, *(entry.body for entry in new)).accepted == len(new)
        self.history.counted += new

    @precondition(lambda self: self.history.events())
    @rule(data=st.data(), is_changed=st.booleans())
    def resend_event(self, data: st.DataObject, *, is_changed: bool) -> None:
        entry = data.draw(st.sampled_from(self.history.events()))
        body = {**entry.body, "input_tokens": entry.body["input_tokens"] + is_changed}
        result = self._send(entry.organization, body, body)
        assert (result.accepted, result.duplicates, result.conflicts) == ((0, 0, 2) if is_changed else (0, 2, 0))

    @rule(
        number=organizations,
        session_id=st.sampled_from(("session-1", "session-2")),
        input_tokens=st.integers(0, 10_000),
        cost=st.sampled_from((None, Decimal(0), Decimal("12.34"))),
    )
    def summarize_session(self, number: int, session_id: str, input_tokens: int, cost: Decimal | None) -> None:
        body = {"kind": "session_summary", "session_id": session_id, "input_tokens": input_tokens}
        body |= {"occurred_at": self.now.isoformat()} | ({} if cost is None else {"cost_usd": str(cost)})
        before = self.history.of_session(number, session_id)
        amounts = dict.fromkeys(SUMS, ZERO)
        amounts["input_tokens"] = input_tokens - sum((entry.amounts["input_tokens"] for entry in before), ZERO)
        if cost is not None:
            amounts["token_cost_usd"] = cost - sum((entry.amounts["token_cost_usd"] for entry in before), ZERO)
            for entry in before:
                if entry.is_unpriced:
                    entry.price(ZERO)
        assert self._send(number, body).accepted == 1
        self.history.counted.append(Counted(number, body, self.now, self.now, amounts, is_event=False))

    # Users.

    @rule(model=st.sampled_from(NEW_MODELS))
    def set_price(self, model: str) -> None:
        if model not in self.priced:
            set_price(model, input="2", output="8", request="0.25")
            self.priced.add(model)
        for number, organization in enumerate(self.organizations):
            unpriced = [entry for entry in self.history.events() if entry.is_unpriced and entry.organization == number]
            priced = [entry for entry in unpriced if entry.body.get("model") in self.priced]
            assert price_unpriced(organization=organization, now=self.now) == len(priced)
            for entry in priced:
                entry.price(price_of(entry.body))

    @precondition(lambda self: self._voidable())
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self._voidable()))
        organization = self.organizations[entry.organization]
        event = UsageEvent.objects.of(organization).get(event_id=entry.body["id"])
        void(organization=organization, event_id=event.pk, reason="a test", actor="tests", now=self.now)
        entry.void()

    # Workers.

    @rule()
    def fold_all(self) -> None:
        fold(now=self.now)

    @rule(number=organizations)
    def fold_one_organization(self, number: int) -> None:
        fold_organization(organization_id=self.organizations[number].pk, now=self.now)

    @rule(number=organizations, statement=st.integers(1, 16))
    def die_while_folding(self, number: int, statement: int) -> None:
        """Die at that statement, if there is one."""
        left = statement

        def die(execute: Any, *arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                raise CrashError
            return execute(*arguments)

        try:
            with connection.execute_wrapper(die):
                fold_organization(organization_id=self.organizations[number].pk, now=self.now)
        except CrashError:
            pass

    @rule(number=organizations, days=st.none() | st.integers(0, 100))
    def rebuild(self, number: int, days: int | None) -> None:
        start = None if days is None else self.now - timedelta(days=days)
        corrected = rebuild(organization_id=self.organizations[number].pk, start=start)
        assert not any(corrected.values())

    @precondition(lambda self: any(not entry.is_dropped for entry in self.history.counted))
    @rule(days=st.sampled_from((0, 31, 45)), months=st.sampled_from((0, 0, 1)), number=st.none() | organizations)
    def drop_old_events(self, days: int, months: int, number: int | None) -> None:
        """After some time has passed."""
        self.now += timedelta(days=days)
        before = months_before(self.now, months)
        organization = None if number is None else self.organizations[number]
        drop_events(before=before, organization=organization, actor="tests", now=self.now, report=lambda _: None)
        for entry in self.history.counted:
            if entry.received_at < before and number in (None, entry.organization):
                entry.is_dropped = True

    @rule(days=st.sampled_from((0, 4, 31)))
    def prepare_partitions(self, days: int) -> None:
        prepare(self.now)
        self.now += timedelta(days=days)

    # Invariants.

    @invariant()
    def rollups_are_what_the_ledger_says(self) -> None:
        """The organizations alternate, because errors persist until they are verified."""
        self.turns += 1
        organization = self.organizations[self.turns % 2]
        checked = verify(organization_id=organization.pk, now=self.now)
        assert [check for check in checked if check.count] == []

    @invariant()
    def reports_read_what_was_sent(self) -> None:
        for rollup in (rollup for rollup in ROLLUPS if rollup not in (WORKFLOW_DAYS, WORKFLOW_TOTALS)):
            columns = ("organization_id", *dimension_columns(rollup))
            sums = {f"sum_{name}": Sum(column) for name, column in columns_of(rollup).items()}
            reported = {}
            for row in rollup.model.live()._default_manager.values(*columns).annotate(**sums):
                number = [organization.pk for organization in self.organizations].index(row["organization_id"])
                key = (number, *(row[column] for column in columns[1:]))
                reported[key] = {name.removeprefix("sum_"): row[name] for name in sums}
            assert reported == self.history.rows(rollup), rollup.name

    @invariant()
    def a_workflow_costs_what_its_runs_cost(self) -> None:
        """The workflow of a run is the last one that was named, and so is its parent."""
        number = self.turns % 2
        for workflow_id, with_children in product(WORKFLOWS, (False, True)):
            costs = get_total_run_costs(
                organization=self.organizations[number],
                workflow_id=workflow_id,
                window=ALWAYS,
                include_children=with_children,
                now=self.now,
            )
            expected = self.history.cost_of_workflow(number, workflow_id, include_children=with_children)
            assert costs.total == expected

    @invariant()
    def only_what_was_dropped_is_gone(self) -> None:
        remaining = [entry for entry in self.history.counted if not entry.is_dropped]
        assert UsageEvent.objects.exclude(kind="adjustment").count() == len(remaining)
        assert UnpricedEvent.objects.count() == sum(entry.is_unpriced for entry in remaining)

    def _voidable(self) -> list[Counted]:
        return [entry for entry in self.history.events() if not entry.is_dropped and not entry.is_voided]

    def _counted(self, number: int, call: dict[str, Any], age: int, index: int) -> Counted:
        occurred_at = self.now - timedelta(minutes=age)
        body = {name: value for name, value in call.items() if value not in ("", [])}
        if "run_id" not in body:
            body.pop("parent_run_id", None)
        body |= {"id": f"event-{len(self.history.counted) + index}", "occurred_at": occurred_at.isoformat()}
        is_new = call["model"] in NEW_MODELS
        if is_new:
            del body["cost_usd"]
        amounts = {
            "requests": Decimal(1),
            "unpriced": Decimal(is_new),
            "input_tokens": Decimal(call["input_tokens"]),
            "output_tokens": Decimal(call["output_tokens"]),
            "token_cost_usd": ZERO if is_new else Decimal(call["cost_usd"]),
        }
        entry = Counted(number, body, occurred_at, self.now, amounts)
        if call["model"] in self.priced:
            entry.price(price_of(body))
        return entry

    def _send(self, number: int, *bodies: dict[str, Any]) -> IngestResult:
        parsed = json_events.parse(msgspec.json.encode(bodies), content_type="", max_events=100, now=self.now)
        organization = self.organizations[number]
        return ingest(organization=organization, credential=None, format="json", parsed=parsed, now=self.now)


def price_of(body: dict[str, Any]) -> Decimal:
    return Decimal(body["input_tokens"] * 2 + body["output_tokens"] * 8) / 1_000_000 + Decimal("0.25")


@pytest.mark.django_db
def test_every_rollup_equals_the_ledger_after_any_history() -> None:
    run_state_machine_as_test(LedgerAndRollups, settings=examples(3, steps=20))
