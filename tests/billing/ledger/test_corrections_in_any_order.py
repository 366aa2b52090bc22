"""After any sequence of corrections, every report shows the sum of an event's rows as its cost."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from billing.ingest import json_events
from billing.ingest.services import ingest
from billing.ledger import corrections, repricings
from billing.ledger.net_cost import load_adjusted_event
from billing.ledger.price_unpriced import price_unpriced
from billing.ledger.reprice import Selection
from billing.models import UnpricedEvent, UsageEvent
from billing.pricing.conditions import Rates
from billing.pricing.services import create_price
from billing.reports.events import explain
from billing.rollups.definitions import ROLLUPS, Merge, Rollup
from billing.rollups.fold import fold
from costtrack.errors import ConflictError
from costtrack.money import ZERO
from organizations.models import Organization
from tests.billing.ledger.test_corrections import NOT_TAKEN_BACK
from tests.billing.ledger.test_reprice import DAY
from tests.profiles import examples
from tests.usage import NOW, total_cost

CALL = "chatcmpl-Abc123Def456"
COUNTS = ("input_tokens", "output_tokens")
NAMES = {"user_id": "user_ref", "team": "team"}
"""What other sources add, by its name in the API: the columns."""

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
AMOUNTS = st.decimals(min_value=0, max_value=1000, places=6)
EVENTS = st.fixed_dictionaries(
    {
        "service": st.just("openai"),
        "model": st.just("m"),
        "input_tokens": st.integers(0, 10**7),
        "output_tokens": st.integers(0, 3),
        "run_id": st.just("r"),
        "workflow_id": st.just("w"),
        "session_id": st.just("s"),
        "execution_id": st.just("e"),
        "end_user": st.just("c"),
        "group_id": st.just("g"),
        "tags": st.just(["t"]),
    },
    optional={"cost_usd": AMOUNTS.map(str), "compute_cost_usd": AMOUNTS.map(str), "duration_ms": st.integers(0, 99)},
)
REPORTS = st.fixed_dictionaries(
    {},
    optional={
        "user_id": st.just("ada"),
        "team": st.just("red"),
        "service_tier": st.just("flex"),
        "cost_usd": AMOUNTS.map(str),
    },
)
"""What another source reports of the same call."""
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("complete"), REPORTS),
        st.just(("void",)),
        st.tuples(st.just("adjust"), AMOUNTS),
        st.tuples(st.just("price"), AMOUNTS),
        st.just(("price_unpriced",)),
        st.just(("reprice",)),
        st.just(("fold",)),
    ),
    max_size=10,
)


class Ledger:
    """An event and the operations on it."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.organization = Organization.objects.create(slug="o", name="o")
        self.body = {**body, "request_id": CALL, "occurred_at": NOW.isoformat()}
        self.named = {name: body[name] for name in NAMES if name in body}
        self.reports = 0
        self._send(self.body)
        self.event = UsageEvent.objects.of(self.organization).get()
        self.who: dict[str, Any] = {"organization": self.organization, "reason": "r", "actor": "a", "now": NOW}

    def _send(self, body: dict[str, Any]) -> None:
        parsed = json_events.parse(msgspec.json.encode([body]), content_type="", max_events=1, now=NOW)
        ingest(organization=self.organization, credential=None, format="json", parsed=parsed, now=NOW)

    def do(self, name: str, *values: Any) -> None:
        try:
            getattr(self, name)(*values)
        except ConflictError:
            assert self.is_voided or name == "adjust"

    def void(self) -> None:
        corrections.void(event_id=self.event.pk, **self.who)

    def adjust(self, cost_usd: Decimal) -> None:
        corrections.adjust(event_id=self.event.pk, cost_usd=cost_usd, **self.who)

    def complete(self, report: dict[str, Any]) -> None:
        """Another source reports the same call. Events that a user has corrected are left alone."""
        if not load_adjusted_event(self.event).has_manual_correction:
            self.named = {name: report[name] for name in NAMES if name in report} | self.named
        common = {name: self.body[name] for name in ("service", "model", "occurred_at", "request_id", *COUNTS)}
        self.reports += 1
        self._send({**common, "id": f"report {self.reports}", "source": "another", **report})
        assert UsageEvent.objects.of(self.organization).filter(adjusts=None).count() == 1

    def price(self, amount: Decimal) -> None:
        prices = Rates(dict.fromkeys(("input", "output"), amount))
        create_price(organization=None, model="m", rates=prices, effective_from=LONG_AGO, actor="tests")

    def price_unpriced(self) -> None:
        price_unpriced(organization=self.organization, now=NOW)

    def reprice(self) -> None:
        selection = Selection(DAY.start, DAY.end)
        before = repricings.reprice(selection=selection, dry_run=True, progress=_quietly, **self.who)
        done = repricings.reprice(selection=selection, dry_run=False, progress=_quietly, **self.who)
        assert done.by_model == before.by_model

    def fold(self) -> None:
        fold(now=NOW)

    @property
    def is_voided(self) -> bool:
        return explain(self.event).adjusted_event.is_voided

    def assert_consistent(self) -> None:
        rows = UsageEvent.objects.of(self.organization)
        why, is_unpriced = explain(self.event), UnpricedEvent.objects.of(self.organization).exists()
        assert why.adjusted_event.known_cost_usd == total_cost(rows)
        assert rows.aggregate(pending=Sum("unpriced"))["pending"] == int(is_unpriced)
        assert why.cost_now_usd == (None if is_unpriced else total_cost(rows))
        if not self.is_voided:
            by_name = rows.values_list(*NAMES.values()).annotate(requests=Sum("requests")).exclude(requests=0)
            assert list(by_name) == [(*(self.named.get(name, "") for name in NAMES), 1)]
        costs = [sum((self._sum(rollup, column) for column in _costs_of(rollup)), ZERO) for rollup in ROLLUPS]
        assert costs == [total_cost(rows)] * len(ROLLUPS)
        if self.is_voided:
            assert not any(
                self._sum(rollup, measure.column)
                for rollup in ROLLUPS
                for measure in rollup.measures
                if measure.merge is Merge.SUM and measure.column != NOT_TAKEN_BACK
            )

    def _sum(self, rollup: Any, column: str) -> Decimal:
        rows = rollup.model.live().objects.of(self.organization)
        if any(dimension.column == "scope" for dimension in rollup.dimensions):
            rows = rows.filter(scope="organization")  # every other scope repeats it
        total: Decimal = rows.aggregate(total=Sum(column))["total"]
        return total


def _costs_of(rollup: Rollup) -> list[str]:
    names = ("token_cost_usd", "compute_cost_usd", "cost_usd")
    return [measure.column for measure in rollup.measures if measure.column in names]


def _quietly(repricing: object) -> None:
    """A progress callback that does nothing."""


class Properties(TestCase):
    @examples(6)
    @given(body=EVENTS, steps=STEPS)
    def test_after_every_step_the_cost_is_the_same_everywhere(
        self, body: dict[str, Any], steps: list[tuple[Any, ...]]
    ) -> None:
        ledger = Ledger(body)
        ledger.assert_consistent()
        for name, *amounts in steps:
            ledger.do(name, *amounts)
            ledger.assert_consistent()
