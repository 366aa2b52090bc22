"""Calls with an authorization before and an event after, and a simple model of the limits."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count

from billing.limits.authorize import Grant
from billing.limits.refusal import SpendLimitExceededError
from organizations.models import Organization
from tests.limits import take
from tests.usage import NOW, Send

# Half past, so that the hour in which a rolling window begins is only partly in it.
HALF_PAST = NOW + timedelta(minutes=30)
_LEAST, _MAX_ITEMS = 1, 50  # thousandths of a dollar
_numbers = count()


@dataclass(frozen=True)
class Call:
    """A call with its cost and dimensions."""

    cost: Decimal
    user: str = ""
    run: str = ""
    tags: tuple[str, ...] = ()
    number: int = field(default_factory=lambda: next(_numbers))

    def event(self, authorization_id: object) -> dict[str, object]:
        return {
            "id": f"call-{self.number}",
            "authorization_id": str(authorization_id),
            "cost_usd": str(self.cost),
            "user_id": self.user,
            "run_id": self.run,
            "tags": list(self.tags),
        }


@dataclass
class Outcome:
    """The calls of a client that were made and refused."""

    made: list[Call] = field(default_factory=list)
    refused: list[Call] = field(default_factory=list)


def calls_of(seed: int, number: int) -> list[Call]:
    """Calls of unequal cost, of few users and runs, so that they meet in the same limits."""
    source = random.Random(seed)
    return [
        Call(
            cost=Decimal(source.randint(_LEAST, _MAX_ITEMS)) / 1000,
            user=source.choice(("ada", "brin", "carl")),
            run=f"run-{source.randrange(12)}",
            tags=tuple(source.sample(("team:a", "team:b", "env:c"), source.randint(0, 2))),
        )
        for _ in range(number)
    ]


def try_to_take(organization: Organization, call: Call, estimate: Decimal) -> Grant | None:
    """Reserve the estimate; None if a limit refuses."""
    try:
        return take(organization, estimate, now=HALF_PAST, user_ref=call.user, run_id=call.run, tags=call.tags)
    except SpendLimitExceededError:
        return None


def make_all(organization: Organization, send: Send, calls: Iterable[Call]) -> Outcome:
    """Authorize each call with its exact cost, and send its event if it is granted."""
    outcome = Outcome()
    for call in calls:
        grant = try_to_take(organization, call, call.cost)
        if grant is None:
            outcome.refused.append(call)
        else:
            assert send(call.event(grant.authorization.pk), now=HALF_PAST).accepted == 1
            outcome.made.append(call)
    return outcome


def merge_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        [call for entry in outcomes for call in entry.made], [call for entry in outcomes for call in entry.refused]
    )


def spent(calls: Iterable[Call]) -> Decimal:
    return sum((call.cost for call in calls), Decimal(0))


@dataclass(frozen=True)
class Bound:
    """A limit in the model: the amount, and the calls that it covers."""

    amount: Decimal
    user: str = ""
    run: str = ""
    tag: str = ""

    def covers(self, call: Call) -> bool:
        return self.user in ("", call.user) and self.run in ("", call.run) and (not self.tag or self.tag in call.tags)

    def left(self, made: Iterable[Call]) -> Decimal:
        return self.amount - spent(call for call in made if self.covers(call))


def assert_exact(outcome: Outcome, bounds: Sequence[Bound]) -> None:
    """No limit was passed, and nothing was refused that would still have fitted at the end. (With exact estimates and
    no release, what is spent and held only grows: what fits at the end has always fitted.)"""
    for bound in bounds:
        assert bound.left(outcome.made) >= 0, bound
    for call in outcome.refused:
        assert any(bound.covers(call) and call.cost > bound.left(outcome.made) for bound in bounds), call


def per_value(amount: str, name: str, values: Iterable[str]) -> Iterator[Bound]:
    """The bounds of a per-value limit."""
    for value in values:
        yield Bound(Decimal(amount), **{name: value})
