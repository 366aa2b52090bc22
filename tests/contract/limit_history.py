"""An organization under spend limits of every window, to which things happen while its clock moves on. What callers do
happens over HTTP, and books are kept beside."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import time_machine
from django.core.cache import cache
from django.db import transaction
from hypothesis import strategies as st
from rest_framework.test import APIClient

from billing.models import UsageEvent
from billing.rollups.fold import fold
from billing.types import LimitAction, LimitScope, LimitWindow
from organizations.models import Organization
from tests.billing.limits.oracle import Oracle
from tests.limits import set_limit

DAY = 60 * 24
MILLION = 1_000_000
USERS = ("ada", "brin", "cleo")
FIXED_PERIOD = (timedelta(days=-3), timedelta(days=20))
"""When it begins and ends, after the history has begun."""
# A time zone, and a day soon after which its clocks are changed.
TIME_ZONES = (
    ("Europe/Berlin", "2026-10-20"),
    ("America/New_York", "2026-03-03"),
    ("Australia/Lord_Howe", "2026-09-30"),
    ("Africa/Cairo", "2026-04-20"),
    ("Asia/Kolkata", "2026-10-27"),
    ("UTC", "2026-11-28"),
)

Step = tuple[int, tuple[str, Any]]
_amounts = st.sampled_from(("0.1", "0.35", "1", "2.5", "0.000000001"))
# Some are late, some are ahead of the clock, and some are as old as a window is long.
_ages = st.sampled_from((0, 0, 1, 30, 61, -1, -30, -60, DAY, 7 * DAY, 7 * DAY - 1, 35 * DAY))
_calls = st.fixed_dictionaries(
    {"age": _ages, "user": st.sampled_from(("", *USERS)), "cost": _amounts | st.none(), "tokens": st.just(200_000)}
)
_steps = st.one_of(
    st.tuples(st.just("send"), st.lists(_calls, min_size=1, max_size=4)),
    st.tuples(st.just("send"), st.lists(_calls, min_size=1, max_size=4)),
    st.tuples(st.just("void"), st.integers(0, 100)),
    st.tuples(st.just("adjust"), st.tuples(st.integers(0, 100), _amounts)),
    st.tuples(st.just("fold"), st.none()),
    st.tuples(st.just("pass_time"), st.none()),
)
_minutes_between_steps = st.sampled_from((0, 0, 1, 29, 60, 7 * 60 + 13, DAY, 2 * DAY + 1, 6 * DAY + DAY // 2))


@dataclass(frozen=True)
class LimitHistory:
    zone_and_day: tuple[str, str]
    week_start: int
    minute: int
    amounts: list[str]
    steps: list[Step]

    @property
    def start(self) -> datetime:
        return datetime.fromisoformat(self.zone_and_day[1]).replace(tzinfo=UTC) + timedelta(minutes=self.minute)


limit_histories = st.builds(
    LimitHistory,
    zone_and_day=st.sampled_from(TIME_ZONES),
    week_start=st.integers(1, 7),
    minute=st.integers(0, DAY),
    amounts=st.lists(
        st.sampled_from(("0.1", "1", "2.5", "3.1")), min_size=2 * len(LimitWindow), max_size=2 * len(LimitWindow)
    ),
    steps=st.lists(st.tuples(_minutes_between_steps, _steps), min_size=3, max_size=7),
)


@dataclass
class SentCall:
    """A call that was reported. `usd` None: its cost is not known."""

    id: str
    at: datetime
    user: str
    usd: Decimal | None
    tokens: int


@dataclass(frozen=True)
class SetLimit:
    """A limit that was set. `value` empty: the organization's, or one of each user."""

    id: int
    scope: LimitScope
    value: str
    window: LimitWindow
    amount: Decimal
    pauses: bool
    fallback: Decimal | None
    period: tuple[datetime | None, datetime | None]

    def is_in_force(self, at: datetime) -> bool:
        start, end = self.period
        return (start is None or start <= at) and (end is None or at < end)

    def covers(self, user: str) -> bool:
        return self.scope is LimitScope.ORGANIZATION or (bool(user) and self.value in ("", user))


@dataclass
class Limits:
    """The organization, its limits, and all that was sent."""

    organization: Organization
    api: APIClient
    time_zone: str = "UTC"
    week_start: int = 1
    limits: list[SetLimit] = field(default_factory=list)
    sent: list[SentCall] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=count)
    _period: tuple[datetime | None, datetime | None] = (None, None)

    def in_force(self, at: datetime) -> list[SetLimit]:
        return [limit for limit in self.limits if limit.is_in_force(at)]

    @contextmanager
    def under(self, history: LimitHistory) -> Iterator[None]:
        """All of its limits are set; nothing of it is left afterwards."""
        cache.clear()
        self.time_zone, self.week_start = history.zone_and_day[0], history.week_start
        self.limits, self.sent = [], []
        with transaction.atomic():
            Organization.objects.filter(pk=self.organization.pk).update(
                time_zone=self.time_zone, week_start=self.week_start, plan="enterprise"
            )
            self._set_limits(history)
            yield
            transaction.set_rollback(True)

    def _set_limits(self, history: LimitHistory) -> None:
        """For each window one of the organization, and one of a user or of each."""
        fallbacks, amounts = (None, Decimal(5)), history.amounts
        self._period = (history.start + FIXED_PERIOD[0], history.start + FIXED_PERIOD[1])
        for index, window in enumerate(LimitWindow):
            value = "ada" if index % 2 else ""
            self._set(LimitScope.ORGANIZATION, "", window, Decimal(amounts[2 * index]), fallbacks[index % 2])
            self._set(LimitScope.USER, value, window, Decimal(amounts[2 * index + 1]), fallbacks[(index + 1) % 2])

    def _set(
        self, scope: LimitScope, value: str, window: LimitWindow, amount: Decimal, fallback: Decimal | None
    ) -> None:
        pauses = window is not LimitWindow.CALENDAR_WEEK
        action = LimitAction.PAUSE if pauses else LimitAction.NOTIFY
        starts_at, ends_at = self._period if window is LimitWindow.FIXED_PERIOD else (None, None)
        created = set_limit(
            self.organization,
            amount,
            scope,
            value,
            window,
            action=action.value,
            fallback_price=fallback,
            starts_at=starts_at,
            ends_at=ends_at,
        )
        self.limits.append(SetLimit(created.pk, scope, value, window, amount, pauses, fallback, (starts_at, ends_at)))

    def oracle(self, limit: SetLimit, user: str) -> Oracle:
        """What must be known of a limit, for one user of a limit of each."""
        return Oracle(
            window=limit.window.value,
            amount=limit.amount,
            zone=self.time_zone,
            week_start=self.week_start,
            pauses=limit.pauses,
            period=limit.period,
            spend=tuple((call.at, _cost(call, limit.fallback)) for call in self._counted(limit, user)),
        )

    def unpriced_count(self, limit: SetLimit, user: str, now: datetime) -> int:
        """How many events of the window have no cost."""
        unpriced = [call for call in self._counted(limit, user) if call.usd is None]
        counter = replace(self.oracle(limit, user), spend=tuple((call.at, Decimal(1)) for call in unpriced))
        return int(counter.spent(now))

    def _counted(self, limit: SetLimit, user: str) -> list[SentCall]:
        return [call for call in self.sent if limit.scope is LimitScope.ORGANIZATION or call.user == user]

    # --- What happens ------------------------------------------------------------------------------------------

    def apply(self, step: tuple[str, Any], now: datetime) -> None:
        name, given = step
        with time_machine.travel(now, tick=False):
            getattr(self, f"_{name}")(given, now)

    def _send(self, calls: list[dict[str, Any]], now: datetime) -> None:
        for call in calls:
            at = now - timedelta(minutes=call["age"])
            usd = Decimal(call["cost"]) if call["cost"] is not None else None
            self.sent.append(SentCall(f"event-{next(self._ids)}", at, call["user"], usd, call["tokens"]))
        response = self.api.post("/usage/events", [_body(call) for call in self.sent[-len(calls) :]], format="json")
        assert response.json()["accepted"] == len(calls), response.content

    def _void(self, number: int, now: datetime) -> None:
        if not self.sent:
            return
        call = self.sent[number % len(self.sent)]
        response = self.api.post(f"{self._path(call)}/void", {"reason": "a test"}, format="json")
        assert response.status_code in (200, 201), response.content
        self.sent.remove(call)

    def _adjust(self, given: tuple[int, str], now: datetime) -> None:
        if not self.sent:
            return
        call, usd = self.sent[given[0] % len(self.sent)], Decimal(given[1])
        body = {"reason": "a test", "cost_usd": given[1]}
        response = self.api.post(f"{self._path(call)}/adjust", body, format="json")
        assert response.status_code in ((409,) if call.usd == usd else (200, 201)), response.content
        call.usd = usd

    def _fold(self, _: None, now: datetime) -> None:
        fold(now=now)

    def _pass_time(self, _: None, now: datetime) -> None:
        """Time goes by."""

    def _path(self, call: SentCall) -> str:
        event = UsageEvent.objects.of(self.organization).get(event_id=call.id)
        return f"/usage/events/{event.pk}"


def _body(call: SentCall) -> dict[str, Any]:
    body: dict[str, Any] = {"id": call.id, "occurred_at": call.at.isoformat(), "model": "house-model"}
    if call.user:
        body["user_id"] = call.user
    return {**body, "input_tokens": call.tokens} if call.usd is None else {**body, "cost_usd": str(call.usd)}


def _cost(call: SentCall, fallback: Decimal | None) -> Decimal:
    if call.usd is not None:
        return call.usd
    return call.tokens * fallback / MILLION if fallback is not None else Decimal(0)
