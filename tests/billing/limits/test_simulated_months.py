"""A month of random usage under every kind of window, over changes of clocks, at every instant at which anything
changes: never paused below the limit, never open at or above it, and back at the very moment that was notified."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.limits.evaluate import evaluate, fits_at
from billing.limits.limit_windows import window_span
from billing.limits.types import Balance, Bucket, ManualOverride, Reservation, Rule
from billing.types import LimitAction, LimitScope, LimitState, LimitWindow, OverrideKind
from costtrack.calendar import Calendar, Window
from tests.billing.limits.oracle import NEVER, ROLLING, Oracle
from tests.profiles import examples

MOMENT, SECOND, HOUR = timedelta(microseconds=1), timedelta(seconds=1), timedelta(hours=1)
MONTH = timedelta(days=32)
# Each with instants a month after which its clocks are changed: by an hour, by half of one, at midnight, or never.
ZONES = {
    "Europe/Berlin": ("2026-03-10", "2026-10-05"),
    "America/New_York": ("2026-02-20", "2026-10-10"),
    "Australia/Lord_Howe": ("2026-03-15", "2026-09-15"),
    "Africa/Cairo": ("2026-04-05", "2026-10-10"),
    "America/Havana": ("2026-02-20", "2026-10-10"),
    "America/St_Johns": ("2006-03-15", "2006-10-10"),
    "Asia/Kolkata": ("2026-03-10", "2026-10-05"),
    "Pacific/Apia": ("2011-12-10", "2011-09-05"),
    "UTC": ("2026-01-31", "2026-02-10"),
}
AMOUNTS = ("0.000000000000000000000001", "0.1", "0.35", "1", "2.5", "9.99", "10")


@dataclass(frozen=True)
class Month:
    """A limit with all that will be spent and held under it, and when it is looked at."""

    oracle: Oracle
    instants: tuple[datetime, ...]
    usd: Decimal


amounts = st.sampled_from(AMOUNTS).map(Decimal)


@st.composite
def months(draw: st.DrawFn, window: LimitWindow) -> Month:
    zone = draw(st.sampled_from(sorted(ZONES)))
    start = datetime.fromisoformat(draw(st.sampled_from(ZONES[zone]))).replace(tzinfo=UTC)
    # Whole hours come often: what is spent at the very edge of a window matters most.
    instants = st.one_of(
        st.integers(0, MONTH // HOUR).map(lambda hours: start + hours * HOUR),
        st.integers(0, MONTH // SECOND).map(lambda seconds: start + seconds * SECOND),
        st.integers(0, MONTH // MOMENT).map(lambda moments: start + moments * MOMENT),
    )
    pairs = st.lists(st.tuples(instants, amounts), max_size=12).map(tuple)
    oracle = Oracle(
        window=window.value,
        amount=draw(amounts),
        zone=zone,
        week_start=draw(st.integers(1, 7)),
        pauses=draw(st.sampled_from((True, True, True, False))),
        raised_to=draw(st.none() | st.just(Decimal(20))),
        raised_until=draw(instants | st.just(NEVER)),
        manual_override=draw(st.sampled_from(("", "", "", "pause", "open"))),
        manual_override_until=draw(instants | st.just(NEVER)),
        spend=draw(pairs),
        reservations=draw(pairs),
    )
    return Month(oracle, tuple(draw(st.lists(instants, max_size=5))), draw(amounts))


def moments_of(month: Month) -> list[datetime]:
    """Whenever somebody looks, and around everything that happens."""
    start = min((at for at, _ in month.oracle.spend), default=None)
    happening = [at for at, _ in month.oracle.spend]
    if start is not None:
        happening += month.oracle.changes(start)
    around = [at + shift for at in happening for shift in (-MOMENT, timedelta())]
    return sorted({*month.instants, *(at for at in around if at < NEVER - MONTH)})


def rule_of(oracle: Oracle, now: datetime) -> Rule:
    """The limit as it holds then, as the limit book would have it."""
    is_raised = oracle.raised_to is not None and now < oracle.raised_until
    is_manual = bool(oracle.manual_override) and now < oracle.manual_override_until
    return Rule(
        limit_id=1,
        scope=LimitScope.ORGANIZATION,
        value="",
        display_value="",
        is_per_value=False,
        window=LimitWindow(oracle.window),
        amount_usd=oracle.amount_at(now),
        base_amount_usd=oracle.amount,
        action=LimitAction.PAUSE if oracle.pauses else LimitAction.NOTIFY,
        thresholds=(80, 95, 100),
        raised_until=_or_none(oracle.raised_until) if is_raised else None,
        manual_override=ManualOverride(
            OverrideKind(oracle.manual_override), _or_none(oracle.manual_override_until), "why"
        )
        if is_manual
        else None,
    )


def balance_of(oracle: Oracle, now: datetime) -> Balance:
    """What the database would say then."""
    spend = sorted(Bucket(at, at, usd) for at, usd in oracle.counted(now))
    reservations = tuple(Reservation(usd, expires_at) for expires_at, usd in oracle.reservations if expires_at > now)
    return Balance(tuple(spend), reservations)


def span_in(oracle: Oracle, now: datetime) -> Window:
    """A rolling window begins a moment after the instant seven days ago, which is out of it."""
    if oracle.window in ROLLING:
        return Window(now - ROLLING[oracle.window] + MOMENT, None)
    return Window(*oracle.span(now))


def _or_none(until: datetime) -> datetime | None:
    return until if until < NEVER else None


@pytest.mark.parametrize("window", LimitWindow)
@examples(15)
@given(data=st.data())
def test_it_pauses_at_the_limit_and_resumes_at_the_announced_time(window: LimitWindow, data: st.DataObject) -> None:
    month = data.draw(months(window))
    for now in moments_of(month):
        oracle = month.oracle.after(now)
        rule, balance = rule_of(oracle, now), balance_of(oracle, now)
        calendar = Calendar(ZoneInfo(oracle.zone), oracle.week_start)
        evaluation = evaluate(rule, balance, calendar=calendar, now=now)

        assert evaluation.is_paused == oracle.is_paused(now)
        assert (evaluation.state is LimitState.EXCEEDED) == (oracle.is_reached(now) and not oracle.is_paused(now))
        assert (evaluation.spent_usd, evaluation.reserved_usd) == (oracle.spent(now), oracle.reserved(now))
        remaining = oracle.amount_at(now) - oracle.spent(now) - oracle.reserved(now)
        assert evaluation.remaining_usd == max(remaining, 0)
        assert evaluation.resets_at == oracle.resets_at(now)
        assert evaluation.as_of == now
        assert evaluation.span == window_span(window, calendar, now) == span_in(oracle, now)
        for usd in (Decimal(0), month.usd, evaluation.remaining_usd):
            assert fits_at(rule, balance, usd=usd, calendar=calendar, now=now) == oracle.fits_at(usd, now)
