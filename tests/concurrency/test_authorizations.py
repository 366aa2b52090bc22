"""64 concurrent clients under the same limits: never above the limit, and nothing refused that fits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import pytest
from cachetools import TTLCache
from django.db import connections

from billing.limits import covered_spend
from billing.limits.verify import verify_limits
from billing.models import Authorization, UsageEvent
from billing.rollups.fold import fold
from billing.types import LimitScope, LimitWindow
from organizations.models import Organization
from tests.concurrency.calls import (
    HALF_PAST,
    Bound,
    Call,
    Outcome,
    assert_exact,
    calls_of,
    make_all,
    merge_outcomes,
    per_value,
    spent,
    try_to_take,
)
from tests.concurrency.conftest import run_concurrently
from tests.limits import set_limit
from tests.profiles import choose
from tests.usage import Send, total_cost

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

CLIENTS = choose(32, long=64)
ONE = Decimal(1)


@contextmanager
def folding() -> Iterator[None]:
    """Fold in the background, so that spend moves from unfolded events to the rollups meanwhile."""
    stop = threading.Event()

    def fold_on() -> None:
        while not stop.is_set():
            fold(now=HALF_PAST)
        connections.close_all()

    folder = threading.Thread(target=fold_on)
    folder.start()
    try:
        yield
    finally:
        stop.set()
        folder.join()


def by_all_clients(organization: Organization, send: Send, *, calls_each: int = 4) -> Outcome:
    with folding():
        outcomes = run_concurrently(
            lambda client: make_all(organization, send, calls_of(client, calls_each)), list(range(CLIENTS))
        )
    return merge_outcomes(outcomes)


def assert_all_is_reported(organization: Organization, outcome: Outcome) -> None:
    """The ledger has each call once, nothing is reserved, and the limits match the ledger."""
    assert total_cost(UsageEvent.objects.of(organization)) == spent(outcome.made)
    assert UsageEvent.objects.of(organization).count() == len(outcome.made)
    settled = Authorization.objects.of(organization).filter(status="settled")
    assert settled.count() == Authorization.objects.of(organization).count() == len(outcome.made)
    assert verify_limits(organization=organization, now=HALF_PAST).count == 0


@pytest.mark.parametrize("window", [LimitWindow.LIFETIME, LimitWindow.ROLLING_7D, LimitWindow.CALENDAR_WEEK])
def test_accepted_spend_never_passes_the_limit_and_reaches_what_fits(
    organization: Organization, send: Send, window: LimitWindow
) -> None:
    set_limit(organization, ONE, window=window)

    outcome = by_all_clients(organization, send)

    assert_exact(outcome, [Bound(ONE)])
    assert len(outcome.made) > 20
    assert len(outcome.refused) > CLIENTS
    assert Decimal("0.95") < spent(outcome.made) <= ONE
    assert_all_is_reported(organization, outcome)


def test_also_while_the_window_begins_within_an_hour_that_was_spent_in(organization: Organization, send: Send) -> None:
    """Rollups have that hour as a whole, and most of what was spent in it has left the window."""
    set_limit(organization, ONE, window=LimitWindow.ROLLING_7D)
    begins = HALF_PAST - timedelta(days=7)
    before = Call(Decimal(5))
    inside = Call(Decimal("0.25"))
    for call, occurred_at in ((before, begins), (inside, begins + timedelta(minutes=20))):
        send({"occurred_at": occurred_at.isoformat(), "cost_usd": str(call.cost)}, now=HALF_PAST)
    fold(now=HALF_PAST)

    outcome = by_all_clients(organization, send, calls_each=2)

    assert_exact(Outcome([inside, *outcome.made], outcome.refused), [Bound(ONE)])
    assert Decimal("0.70") < spent(outcome.made) <= Decimal("0.75")
    assert verify_limits(organization=organization, now=HALF_PAST).count == 0


def test_several_limits_hold_at_once_all_or_none(organization: Organization, send: Send) -> None:
    set_limit(organization, "2", window=LimitWindow.ROLLING_7D)
    set_limit(organization, "0.7", LimitScope.USER)
    set_limit(organization, "0.5", LimitScope.TAG, "team:a", LimitWindow.CALENDAR_MONTH)
    set_limit(organization, "0.2", LimitScope.RUN)
    bounds = [
        Bound(Decimal(2)),
        *per_value("0.7", "user", ("ada", "brin", "carl")),
        Bound(Decimal("0.5"), tag="team:a"),
        *per_value("0.2", "run", (f"run-{number}" for number in range(12))),
    ]

    outcome = by_all_clients(organization, send)

    assert_exact(outcome, bounds)
    assert outcome.refused
    assert_all_is_reported(organization, outcome)


def test_limits_hold_while_spend_of_unfolded_events_is_cached_and_changes(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each authorization caches it, with batches that commit at the same moment, and folding changes it."""
    monkeypatch.setattr(covered_spend, "_MIN_EVENTS", 1)
    monkeypatch.setattr(covered_spend, "_MIN_AGE", timedelta(seconds=-1))
    monkeypatch.setattr(covered_spend, "_loaded_lately", TTLCache(1, 0))
    set_limit(organization, ONE, window=LimitWindow.ROLLING_7D)
    set_limit(organization, "0.4", LimitScope.USER)
    users = per_value("0.4", "user", ("ada", "brin", "carl"))

    outcome = by_all_clients(organization, send)

    assert_exact(outcome, [Bound(ONE), *users])
    assert outcome.refused
    assert_all_is_reported(organization, outcome)


def test_limits_that_are_met_in_any_order_do_not_wait_for_each_other_for_ever(
    organization: Organization, send: Send
) -> None:
    """Each call is under many limits at once; half of the clients name their tags the other way round."""
    tags = tuple(f"tag-{number}" for number in range(8))
    for tag in tags:
        set_limit(organization, "0.5", LimitScope.TAG, tag)
    set_limit(organization, "0.5", LimitScope.USER)

    def make(client: int) -> Outcome:
        ordered = tags if client % 2 else tags[::-1]
        calls = [Call(Decimal("0.01"), user=f"user-{client % 2}", tags=ordered) for _ in range(2)]
        return make_all(organization, send, calls)

    outcome = merge_outcomes(run_concurrently(make, list(range(CLIENTS))))

    assert spent(outcome.made) == Decimal("0.5")
    assert_all_is_reported(organization, outcome)


def test_estimates_that_are_too_low_by_half_overshoot_by_what_calls_in_flight_lack(
    organization: Organization, send: Send
) -> None:
    """Round by round: all clients ask, then all calls that may take place are reported. What the last round's calls did
    cost more than they had reserved is all that the limit is passed by."""
    limit = Decimal(2)
    set_limit(organization, limit)
    asking = threading.Barrier(CLIENTS)
    rounds: list[list[Call]] = [[] for _ in range(4)]

    def make(client: int) -> None:
        for number, call in enumerate(calls_of(client, len(rounds))):
            asking.wait(timeout=60)
            grant = try_to_take(organization, call, call.cost / 2)
            asking.wait(timeout=60)
            if grant is not None:
                rounds[number].append(call)
                send(call.event(grant.authorization.pk), now=HALF_PAST)

    run_concurrently(make, list(range(CLIENTS)))

    before = Decimal(0)
    for made in rounds:
        reserved = spent(made) / 2
        assert not made or before + reserved <= limit
        before += spent(made)
    last = next(made for made in reversed(rounds) if made)
    overshoot, bound = before - limit, spent(last) - spent(last) / 2
    assert 0 < overshoot <= bound
    assert_all_is_reported(organization, Outcome([call for made in rounds for call in made]))
    assert try_to_take(organization, Call(Decimal(0)), Decimal(0)) is None, "the limit is reached"


def test_estimates_that_are_too_high_give_back_what_was_not_needed(organization: Organization, send: Send) -> None:
    set_limit(organization, ONE)

    def make(client: int) -> list[Call]:
        made = []
        for call in calls_of(client, 4):
            grant = try_to_take(organization, call, call.cost * 2)
            if grant is not None:
                send(call.event(grant.authorization.pk), now=HALF_PAST)
                made.append(call)
        return made

    made = [call for calls in run_concurrently(make, list(range(CLIENTS))) for call in calls]

    assert spent(made) <= ONE
    assert try_to_take(organization, Call(Decimal(0)), ONE - spent(made)) is not None, "nothing is held any more"
