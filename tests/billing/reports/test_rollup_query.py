"""Sums of rollups equal plain sums of the ledger, in any window: whether events are folded, unfolded or dropped."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.reports.rollup_query import RollupQuery, Sums, read_sums
from billing.reports.sql import equal_to
from billing.rollups.definitions import MODEL_DAYS, ORGANIZATION_HOURS, TAG_DAYS, USAGE_DAYS, USAGE_HOURS, Rollup
from billing.rollups.fold import fold
from billing.rollups.retention import drop_events
from costtrack.calendar import ALWAYS, Window, last_boundary
from costtrack.clock import DAY, HOUR
from organizations.models import Organization
from tests.profiles import examples
from tests.usage import Send

AUGUST, SEPTEMBER = datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)
MODELS = ("", "gpt-4o", "gpt-5")
LEVELS: tuple[tuple[tuple[Rollup, ...], timedelta], ...] = (
    ((USAGE_DAYS, USAGE_HOURS), HOUR),
    ((ORGANIZATION_HOURS,), HOUR),
    ((MODEL_DAYS,), DAY),
    ((TAG_DAYS,), DAY),
)
"""Rollups, and the buckets of the finest: all that is left of dropped events."""

minutes = st.one_of(
    st.integers(0, 50 * 24).map(lambda hours: hours * 60),
    st.integers(0, 50 * 24 * 60),
    st.integers(0, 50).map(lambda days: days * 24 * 60),
)
instants = st.one_of(st.none(), minutes.map(lambda number: AUGUST + timedelta(minutes=number)))
windows = st.tuples(instants, instants).map(
    lambda pair: Window(*pair) if None in pair else Window(*sorted(instant for instant in pair if instant is not None))
)


@dataclass(frozen=True)
class Sent:
    at: datetime
    model: str
    cost: Decimal
    is_dropped: bool

    def counts_in(self, window: Window, bucket: timedelta) -> bool:
        at = last_boundary(self.at, bucket) if self.is_dropped else self.at
        return (window.start is None or window.start <= at) and (window.end is None or at < window.end)


@pytest.fixture
def ledger(organization: Organization, other_organization: Organization, send: Send) -> list[Sent]:
    """Events of seven weeks: of the first month some were dropped, of the second some are not folded."""
    random, sent = Random(13), []
    for received, count, is_dropped in (
        (AUGUST + 20 * DAY, 60, True),
        (SEPTEMBER + 19 * DAY, 60, False),
        (SEPTEMBER + 20 * DAY, 15, False),
    ):
        events = [
            Sent(
                at=AUGUST + timedelta(minutes=random.randrange((received - AUGUST) // timedelta(minutes=1))),
                model=random.choice(MODELS),
                cost=Decimal(random.randrange(1, 1_000)) / 8,
                is_dropped=is_dropped,
            )
            for _ in range(count)
        ]
        bodies = [
            {"occurred_at": event.at.isoformat(), "model": event.model, "cost_usd": str(event.cost), "tags": ["a"]}
            for event in events
        ]
        send(*bodies, now=received)
        send(*bodies, to=other_organization, now=received)
        sent += events
        if received < SEPTEMBER + 20 * DAY:
            fold(now=received)
    drop_events(before=SEPTEMBER, organization=None, actor="tests", now=SEPTEMBER + 20 * DAY, report=lambda _: None)
    return sent


def summed(events: Iterable[Sent]) -> dict[tuple[str, ...], tuple[int, Decimal]]:
    sums: dict[tuple[str, ...], tuple[int, Decimal]] = {}
    for event in events:
        requests, cost = sums.get((event.model,), (0, Decimal(0)))
        sums[event.model,] = (requests + 1, cost + event.cost)
    return sums


def read(rows: Iterable[Sums]) -> dict[tuple[str, ...], tuple[int, Decimal]]:
    return {sums.key: (sums.requests, sums.cost) for sums in rows}


@examples(20)
@given(window=windows)
def test_a_window_has_the_sums_of_its_events(organization: Organization, ledger: list[Sent], window: Window) -> None:
    for levels, bucket in LEVELS:
        expected = [event for event in ledger if event.counts_in(window, bucket)]
        columns = {dimension.column for level in levels for dimension in level.dimensions}
        queries = [RollupQuery(levels, (window,))]
        if "model" in columns:
            queries += [
                RollupQuery(levels, (window,), ("model",)),
                RollupQuery(levels, (window,), ("model",), equal_to({"model": ("gpt-5", "")})),
            ]
        totals, *by_model = map(read, read_sums(organization, *queries))
        assert totals == ({(): (len(expected), sum(event.cost for event in expected))} if expected else {})
        for sums, models in zip(by_model, (MODELS, ("gpt-5", "")), strict=False):
            assert sums == summed(event for event in expected if event.model in models)


@examples(10)
@given(cut=minutes.map(lambda number: AUGUST + timedelta(minutes=number)))
def test_adjacent_windows_add_up(organization: Organization, ledger: list[Sent], cut: datetime) -> None:
    for levels, _ in LEVELS:
        parts = read_sums(
            organization,
            *(RollupQuery.of(levels[-1], (), window) for window in (ALWAYS, Window(None, cut), Window(cut, None))),
        )
        everything, before, after = (sum((sums.cost for sums in rows), Decimal(0)) for rows in parts)
        assert everything == before + after == sum((event.cost for event in ledger), Decimal(0))


def test_an_event_at_a_cut_between_hours_is_in_the_later_window(organization: Organization, ledger: list[Sent]) -> None:
    at = next(event.at for event in ledger if not event.is_dropped and event.at.minute)
    around = (Window(at - DAY, at), Window(at, at + DAY))
    for levels, bucket in LEVELS:
        sums = read_sums(organization, *(RollupQuery(levels, (window,)) for window in around))
        for window, rows in zip(around, sums, strict=True):
            expected = [event for event in ledger if event.counts_in(window, bucket)]
            assert read(rows) == ({(): (len(expected), sum(event.cost for event in expected))} if expected else {})


def test_what_was_dropped_can_be_left_out(organization: Organization, ledger: list[Sent]) -> None:
    for levels, _ in LEVELS:
        ((sums,),) = read_sums(organization, RollupQuery.of(levels[-1], undropped_only=True))
        assert sums.requests == sum(not event.is_dropped for event in ledger)


def test_a_limit_returns_the_most_expensive(organization: Organization, ledger: list[Sent]) -> None:
    ((sums,),) = read_sums(organization, RollupQuery.of(MODEL_DAYS, ("model",), limit=1))
    assert (sums.requests, sums.cost) == max(summed(ledger).values(), key=lambda pair: pair[1])
