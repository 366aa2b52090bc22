"""Random histories of two organizations. What callers do happens over HTTP, and books are kept beside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import time_machine
from django.core.cache import cache
from django.db import transaction
from hypothesis import strategies as st
from rest_framework.test import APIClient

from billing.ledger.adjustments import note
from billing.ledger.price_unpriced import price_unpriced
from billing.ledger.reprice import Selection, reprice_step
from billing.models import UsageEvent
from billing.rollups.fold import fold
from billing.types import CorrectionKind
from costtrack.tenancy import tenant_scope
from organizations.models import Organization
from tests.conftest import Key
from tests.contract.expected_ledger import Entry, ExpectedLedger, Prices
from tests.usage import NOW, set_price

DAY = 60 * 24
LONG_AGO = NOW - timedelta(days=400)
# Only these have prices, and only some time after their first calls.
NEW_MODELS = ("new-a", "new-b")
# The price of everybody, and an organization's own, in USD for a million tokens.
SHARED_PRICE: dict[str, Any] = {
    "input": "3",
    "output": "15",
    "cache_read": "0.3",
    "cache_creation": "3.75",
    "request": "0.25",
}
OWN_PRICE: dict[str, Any] = {"input": "2", "output": "8", "cache_read": "1", "cache_creation": "2.5", "request": "0.01"}

Fields = dict[str, Any]
Step = tuple[int, tuple[str, Any]]
_counts = st.sampled_from((0, 1, 7, 250, 4_000))
_amounts = st.sampled_from(("0", "0.1", "0.35", "0.0000000001", "12.3456789", "987.6543210001"))
_ages_in_minutes = st.sampled_from((0, 1, 59, 12 * 60, 12 * 60 + 1, DAY, DAY + 60, 8 * DAY, 35 * DAY, 300 * DAY))


def _names(*names: str) -> st.SearchStrategy[str]:
    """One of them or none. `@` stands for the organization's own name: nobody else has that word."""
    return st.sampled_from(("", *names))


def _events(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Fields]:
    """An event that says nothing of what is empty."""
    return st.fixed_dictionaries(fields).map(
        lambda drawn: {name: value for name, value in drawn.items() if value not in ("", [])}
    )


_of_all = {
    "age": _ages_in_minutes,
    "run_id": _names("run-1", "run-2", "run-3", "@run"),
    "parent_run_id": _names("run-1", "run-2", "run-3", "@run"),
    "workflow_id": _names("flow-1", "@flow"),
    "session_id": _names("session-1", "session-2", "@session"),
    "has_execution": st.booleans(),
    "phase_id": _names("phase-1", "@phase"),
    "group_id": _names("group-1", "group-2", "@group"),
    "group_name": _names("Group", "@Group"),
    "agent_id": _names("agent-1", "@agent"),
    "user_id": _names("ada", "@user"),
    "end_user": _names("customer", "@customer"),
    "tags": st.lists(st.sampled_from(("a", "team:b", "@tag")), max_size=3),
    "service": _names("openai", "@service"),
    "cost_group": _names("", "group-of-costs"),
    "duration_ms": st.sampled_from((0, 250)),
}
_calls = _events(
    {
        **_of_all,
        "model": _names("gpt-4o", "@model", *NEW_MODELS),
        "capability": _names("chat", "@capability"),
        "status": st.sampled_from(("success", "success", "failure")),
        "input_tokens": _counts,
        "output_tokens": _counts,
        "cache_read_tokens": _counts,
        "cache_creation_tokens": _counts,
        "cost_usd": _amounts,
        "compute_cost_usd": st.sampled_from(("0", "0", "0.5")),
    }
)
_tools = _events(
    {
        **_of_all,
        "kind": st.sampled_from(("tool_call", "compute")),
        "tool": _names("Bash", "@tool"),
        "cost_usd": _amounts,
    }
)
_summaries = st.fixed_dictionaries(
    {
        "kind": st.just("session_summary"),
        "age": _ages_in_minutes,
        "session_id": st.sampled_from(("session-1", "session-2", "@session")),
        "has_execution": st.booleans(),
        "model": st.just("gpt-4o"),
    },
    optional={"input_tokens": _counts, "turns": _counts, "tool_calls": _counts, "cost_usd": _amounts},
)
_numbers = st.integers(0, 1_000)
_steps = st.one_of(
    st.tuples(st.just("summarize"), _summaries),
    st.tuples(st.just("send_again"), _numbers),
    st.tuples(st.just("void"), _numbers),
    st.tuples(st.just("adjust"), st.tuples(_numbers, _amounts)),
    st.tuples(st.just("price"), st.sampled_from(NEW_MODELS)),
    st.tuples(st.just("own_price"), st.sampled_from(NEW_MODELS)),
    st.tuples(st.just("fold"), st.just(None)),
)
_sent = st.lists(st.one_of(_calls, _tools), min_size=3, max_size=8)
_rounds = st.lists(
    st.tuples(_sent, st.lists(st.tuples(st.integers(0, 1), _steps), min_size=1, max_size=4)), min_size=4, max_size=6
)


class History:
    """Steps of the one or the other organization: whose, what, and with which things."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps

    def __repr__(self) -> str:
        return ", ".join(f"{number} {step}" for number, (step, _) in self.steps)


def _history(rounds: list[tuple[list[Fields], list[Step]]]) -> History:
    """The two send in turn, and after each time something else happens."""
    steps: list[Step] = []
    for number, (sent, others) in enumerate(rounds):
        steps += [(number % 2, ("send", sent)), *others]
    return History(steps)


histories = _rounds.map(_history)


@dataclass
class Side:
    """One of the two organizations: how to ask, and what it must know."""

    organization: Organization
    key: Key
    ledger: ExpectedLedger = field(default_factory=ExpectedLedger)
    sent: list[list[Fields]] = field(default_factory=list)

    @property
    def api(self) -> APIClient:
        return self.key.client()

    @property
    def own_word(self) -> str:
        """What stands in every name that only this organization has."""
        return f"only-{self.organization.slug}"

    def events(self) -> list[Entry]:
        """Those that can be corrected."""
        return [entry for entry in self.ledger.entries if entry.kind != "session_summary" and not entry.is_voided]


class Stage:
    def __init__(self, *sides: Side) -> None:
        self.sides = sides
        self.shared_prices: Prices = {}

    @contextmanager
    def after(self, history: History) -> Iterator[None]:
        """All of this has happened, and nothing of it is left afterwards (in the cache neither: a ledger that goes back
        in time has the same version twice)."""
        cache.clear()
        self.shared_prices = {}
        for side in self.sides:
            side.ledger, side.sent = ExpectedLedger(), []
        with time_machine.travel(NOW, tick=False), transaction.atomic():
            for number, (step, given) in history.steps:
                do: Callable[[Side, Any], None] = getattr(self, f"_{step}")
                do(self.sides[number], given)
            yield
            transaction.set_rollback(True)

    # --- Callers -----------------------------------------------------------------------------------------------

    def _send(self, side: Side, drawn: list[Fields]) -> None:
        bodies = [_event_body(side, element, len(side.ledger.entries) + index) for index, element in enumerate(drawn)]
        _post(side, bodies, accepted=len(bodies))
        side.sent.append(bodies)
        for body in bodies:
            side.ledger.record(body, side.key.credential.client_id)

    def _summarize(self, side: Side, drawn: Fields) -> None:
        """It is delivered twice, and once more under another id."""
        number = len(side.ledger.entries)
        for body in (_event_body(side, drawn, number), _event_body(side, drawn, number + 1)):
            _post(side, [body], accepted=1)
            _post(side, [body], duplicates=1)
            side.ledger.record(body, side.key.credential.client_id)

    def _send_again(self, side: Side, number: int) -> None:
        if side.sent:
            bodies = side.sent[number % len(side.sent)]
            _post(side, bodies, duplicates=len(bodies))

    # --- People ------------------------------------------------------------------------------------------------

    def _void(self, side: Side, number: int) -> None:
        if events := side.events():
            entry = events[number % len(events)]
            response = side.api.post(f"{_path(side, entry)}/void", {"reason": "a test"}, format="json")
            assert response.status_code in (200, 201), response.content
            entry.void()

    def _adjust(self, side: Side, given: tuple[int, str]) -> None:
        number, amount = given
        if events := side.events():
            entry = events[number % len(events)]
            is_so_already = not entry.is_unpriced and entry.cost == Decimal(amount)
            body = {"reason": "a test", "cost_usd": amount}
            response = side.api.post(f"{_path(side, entry)}/adjust", body, format="json")
            assert response.status_code in ((409,) if is_so_already else (200, 201)), response.content
            if not is_so_already:
                entry.adjust(Decimal(amount))

    def _price(self, _: Side, model: str) -> None:
        """For everybody, and once for all."""
        if model not in self.shared_prices:
            set_price(model, **SHARED_PRICE)
            self.shared_prices[model] = _decimals(SHARED_PRICE)
        for side in self.sides:
            side.ledger.prices = {**self.shared_prices, **side.ledger.prices}
            price_unpriced(organization=side.organization, now=NOW)
            side.ledger.price_unpriced_entries()

    def _own_price(self, side: Side, model: str) -> None:
        """And everything is priced anew by it."""
        if side.ledger.prices.get(model) != _decimals(OWN_PRICE):
            set_price(model, organization=side.organization, **OWN_PRICE)
            side.ledger.prices[model] = _decimals(OWN_PRICE)
        price_unpriced(organization=side.organization, now=NOW)
        side.ledger.price_unpriced_entries()
        with tenant_scope(side.organization.pk):
            reprice_step(
                organization=side.organization,
                selection=Selection(LONG_AGO, NOW + timedelta(days=1)),
                after=None,
                limit=10_000,
                note=note(CorrectionKind.REPRICE, actor="tests", reason="a test"),
                now=NOW,
            )
        side.ledger.reprice()

    # --- Workers -----------------------------------------------------------------------------------------------

    def _fold(self, _: Side, __: None) -> None:
        fold(now=NOW)


def _event_body(side: Side, drawn: Fields, number: int) -> Fields:
    """An event's body. A session is always of the same execution, if it has one at all."""
    body = {name: _renamed(side, value) for name, value in drawn.items() if name not in ("age", "has_execution")}
    if body.get("model") in NEW_MODELS:
        body.pop("cost_usd", None)
    if "run_id" not in body:
        body.pop("parent_run_id", None)
    if drawn.get("has_execution") and "session_id" in body:
        body["execution_id"] = _renamed(side, "@execution" if side.own_word in body["session_id"] else "execution-1")
    occurred_at = NOW - timedelta(minutes=drawn["age"])
    return {**body, "id": f"event-{number}", "occurred_at": occurred_at.isoformat()}


def _renamed(side: Side, value: Any) -> Any:
    if isinstance(value, list):
        return [_renamed(side, element) for element in value]
    return value.replace("@", f"{side.own_word}-") if isinstance(value, str) else value


def _post(side: Side, bodies: list[Fields], **expected: int) -> None:
    response = side.api.post("/usage/events", bodies, format="json")
    answer = response.json()
    counts = {name: answer[name] for name in ("accepted", "duplicates", "conflicts", "rejected")}
    assert counts == {"accepted": 0, "duplicates": 0, "conflicts": 0, "rejected": 0, **expected}, answer


def _path(side: Side, entry: Entry) -> str:
    event = UsageEvent.objects.of(side.organization).get(event_id=entry.fields["id"])
    return f"/usage/events/{event.pk}"


def _decimals(price: dict[str, str]) -> dict[str, Decimal]:
    return {kind: Decimal(amount) for kind, amount in price.items()}


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
