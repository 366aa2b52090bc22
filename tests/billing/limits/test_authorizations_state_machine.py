"""Whatever happens to authorizations and limits, in whatever order: what is granted, spent and held is what a plain
account of all that has happened says."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from billing.ingest import json_events
from billing.ingest.services import ingest
from billing.ledger.corrections import adjust, void
from billing.limits.authorize import expire, extend, release
from billing.limits.cache import limit_set
from billing.limits.changes import announce_limit_change
from billing.limits.refusal import SpendLimitExceededError
from billing.limits.status import statuses
from billing.limits.verify import verify_limits
from billing.models import Authorization, SpendLimit, UsageEvent
from billing.rollups.fold import fold
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.errors import ConflictError
from costtrack.money import ZERO
from organizations.models import Organization
from tests.limits import set_limit, take
from tests.profiles import examples

WEEK = timedelta(days=7)
LAST = timedelta(microseconds=1)

amounts = st.sampled_from([Decimal(text) for text in ("0", "0.000000000000000000000001", "0.1", "0.25", "1")])
users = st.sampled_from(("", "ada", "brin"))
runs = st.sampled_from(("", "r-1", "r-2"))
tags = st.lists(st.sampled_from(("a", "b")), unique=True)
intervals = st.sampled_from([timedelta(minutes=minutes) for minutes in (0, 1, 10, 59, 24 * 60, 7 * 24 * 60)])


@dataclass
class Spent:
    """An event: what it costs now, whose it is, when it was."""

    id: str
    cost: Decimal
    user: str
    run: str
    tags: tuple[str, ...]
    at: datetime
    is_voided: bool = False


@dataclass
class Taken:
    """An authorization. `ends` is when it holds no more; None once something has ended it."""

    amount: Decimal
    user: str
    run: str
    tags: tuple[str, ...]
    ends: datetime | None
    status: str = "reserved"
    settled: Decimal | None = None


@dataclass
class Limit:
    row: SpendLimit
    amount: Decimal

    def covers(self, item: Spent | Taken) -> list[str]:
        """The values under which it counts."""
        values = {"organization": ("",), "user": (item.user,), "run": (item.run,), "tag": item.tags}[self.row.scope]
        named = [value for value in values if value or self.row.scope == "organization"]
        return [value for value in named if self.row.is_per_value or value == self.row.scope_value]


@dataclass
class Account:
    """All that has happened."""

    spent: list[Spent] = field(default_factory=list)
    taken: dict[UUID, Taken] = field(default_factory=dict)
    limits: list[Limit] = field(default_factory=list)

    def sums(self, limit: Limit, value: str, now: datetime) -> tuple[Decimal, Decimal]:
        """What is spent and held of a limit."""
        since = now - WEEK + LAST if limit.row.window == "rolling_7d" else datetime.min.replace(tzinfo=UTC)
        spent = sum((item.cost for item in self.spent if value in limit.covers(item) and item.at >= since), ZERO)
        is_open = (item for item in self.taken.values() if item.ends is not None and item.ends > now)
        return spent, sum((item.amount for item in is_open if value in limit.covers(item)), ZERO)

    def fits(self, authorization: Taken, now: datetime) -> bool:
        for limit in self.limits:
            for value in limit.covers(authorization):
                spent, held = self.sums(limit, value, now)
                has_budget = spent < limit.amount and spent + held + authorization.amount <= limit.amount
                if limit.row.action == "pause" and not has_budget:
                    return False
        return True


class Authorizations(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.organization = Organization.objects.create(slug="acme", name="Acme")
        self.now = datetime(2026, 11, 2, 12, 20, tzinfo=UTC)
        self.account = Account()
        self._set("1.5", LimitScope.ORGANIZATION, window=LimitWindow.ROLLING_7D)
        self._set("0.5", LimitScope.RUN)
        self._set("0.6", LimitScope.USER, "ada", window=LimitWindow.ROLLING_7D)
        self._set("0.3", LimitScope.TAG, "a", action=LimitAction.NOTIFY)

    def teardown(self) -> None:
        try:
            expire(now=self.now)
            assert verify_limits(organization=self.organization, now=self.now).differences == ()
            fold(now=self.now)
            assert verify_limits(organization=self.organization, now=self.now).differences == ()
        finally:
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)

    # Callers.

    @rule(amount=amounts, user=users, run=runs, tags=tags, ttl=intervals)
    def authorize(self, amount: Decimal, user: str, run: str, tags: list[str], ttl: timedelta) -> None:
        ttl = max(ttl, timedelta(seconds=1))
        authorization = Taken(amount, user, run, tuple(tags), self.now + ttl)
        try:
            grant = take(self.organization, amount, now=self.now, ttl=ttl, user_ref=user, run_id=run, tags=tuple(tags))
        except SpendLimitExceededError:
            assert not self.account.fits(authorization, self.now)
        else:
            assert self.account.fits(authorization, self.now)
            self.account.taken[grant.authorization.pk] = authorization

    @precondition(lambda self: self.account.taken)
    @rule(data=st.data(), cost=amounts, is_sent_twice=st.booleans())
    def reconcile(self, data: st.DataObject, cost: Decimal, *, is_sent_twice: bool) -> None:
        pk, taken = self._pick(data)
        spent = Spent(f"e-{len(self.account.spent)}", cost, taken.user, taken.run, taken.tags, self.now)
        for number in range(1 + is_sent_twice):
            assert self._send(spent, authorization_id=str(pk)) == (number == 0)
        taken.status, taken.ends, taken.settled = "settled", None, (taken.settled or ZERO) + cost
        self.account.spent.append(spent)

    @rule(cost=amounts, user=users, run=runs, tags=tags, age=intervals)
    def spend_without_asking(self, cost: Decimal, user: str, run: str, tags: list[str], age: timedelta) -> None:
        spent = Spent(f"e-{len(self.account.spent)}", cost, user, run, tuple(tags), self.now - age)
        assert self._send(spent)
        self.account.spent.append(spent)

    @precondition(lambda self: self.account.taken)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        pk, taken = self._pick(data)
        try:
            release(organization=self.organization, authorization_id=pk, now=self.now)
        except ConflictError:
            assert taken.status == "settled"
        else:
            assert taken.status != "settled"
            taken.status = "released" if taken.status == "reserved" else taken.status
            taken.ends = None

    @precondition(lambda self: self.account.taken)
    @rule(data=st.data(), ttl=intervals)
    def extend(self, data: st.DataObject, ttl: timedelta) -> None:
        pk, taken = self._pick(data)
        is_open = taken.ends is not None and taken.ends > self.now
        try:
            extend(organization=self.organization, authorization_id=pk, ttl=ttl, now=self.now)
        except ConflictError:
            assert not is_open
        else:
            assert is_open
            taken.ends = self.now + ttl

    # The clock and the workers.

    @rule(time=intervals)
    def wait(self, time: timedelta) -> None:
        self.now += time

    @rule()
    def expire(self) -> None:
        over = [
            item
            for item in self.account.taken.values()
            if item.status == "reserved" and item.ends is not None and item.ends <= self.now
        ]
        assert expire(now=self.now) == len(over)
        for item in over:
            item.status, item.ends = "expired", None

    @rule()
    def fold(self) -> None:
        fold(now=self.now)

    # People.

    @rule(data=st.data(), amount=st.sampled_from(("0", "0.2", "1", "5")))
    def change_a_limit(self, data: st.DataObject, amount: str) -> None:
        limit = data.draw(st.sampled_from(self.account.limits))
        limit.amount = Decimal(amount)
        SpendLimit.objects.filter(pk=limit.row.pk).update(amount_usd=limit.amount)
        announce_limit_change(self.organization)

    @precondition(lambda self: any(not item.is_voided for item in self.account.spent))
    @rule(data=st.data(), cost=st.one_of(st.none(), amounts))
    def correct(self, data: st.DataObject, cost: Decimal | None) -> None:
        """Set an event's cost, or (None) take it back."""
        item = data.draw(st.sampled_from([item for item in self.account.spent if not item.is_voided]))
        event = UsageEvent.objects.of(self.organization).get(event_id=item.id)
        why: dict[str, Any] = {"organization": self.organization, "event_id": event.pk, "reason": "r", "actor": "a"}
        if cost is None:
            void(**why, now=self.now)
            item.is_voided, item.cost = True, ZERO
        elif cost != item.cost:
            adjust(**why, cost_usd=cost, now=self.now)
            item.cost = cost

    # What is always so.

    @invariant()
    def limits_stand_as_the_account_says(self) -> None:
        rules = [
            (limit, value, rule)
            for limit in self.account.limits
            for value in self._values(limit)
            if (rule := limit_set(self.organization).rule(limit.row.pk, value, now=self.now)) is not None
        ]
        found = statuses(organization=self.organization, rules=[rule for _, _, rule in rules], now=self.now)
        for (limit, value, _), status in zip(rules, found, strict=True):
            spent, held = self.account.sums(limit, value, self.now)
            assert (status.evaluation.spent_usd, status.evaluation.reserved_usd) == (spent, held), (limit, value)

    @invariant()
    def each_authorization_has_ended_as_the_account_says(self) -> None:
        rows = Authorization.objects.of(self.organization)
        assert {row.pk: (row.status, row.settled_usd) for row in rows} == {
            pk: (item.status, item.settled) for pk, item in self.account.taken.items()
        }

    def _set(self, amount: str, *about: Any, **columns: Any) -> None:
        row = set_limit(self.organization, amount, *about, **columns)
        self.account.limits.append(Limit(row, Decimal(amount)))

    def _pick(self, data: st.DataObject) -> tuple[UUID, Taken]:
        pk = data.draw(st.sampled_from(sorted(self.account.taken)))
        return pk, self.account.taken[pk]

    def _values(self, limit: Limit) -> list[str]:
        return ["r-1", "r-2"] if limit.row.is_per_value else [limit.row.scope_value]

    def _send(self, spent: Spent, **named: str) -> bool:
        """Whether it is new to the ledger."""
        body = {"id": spent.id, "cost_usd": str(spent.cost), "user_id": spent.user, "run_id": spent.run}
        event = {**body, "tags": spent.tags, "occurred_at": spent.at.isoformat(), **named}
        parsed = json_events.parse(msgspec.json.encode(event), content_type="", max_events=1, now=self.now)
        done = ingest(organization=self.organization, credential=None, format="json", parsed=parsed, now=self.now)
        assert done.is_complete, done.errors
        return done.accepted == 1


@pytest.mark.django_db
@pytest.mark.timeout(600)
def test_authorizations_are_what_a_plain_account_says() -> None:
    run_state_machine_as_test(Authorizations, settings=examples(5, steps=25))
