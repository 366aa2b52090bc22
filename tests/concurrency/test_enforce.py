"""Enforcement by many at once, while events come in and limits are changed: each threshold event is written and
sent once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Event

import pytest
from django.db import connections, transaction

from billing.limits.authorize import AuthorizationRequest, authorize
from billing.limits.enforce import EnforcementResult, enforce
from billing.limits.types import Dimensions
from billing.models import Notice, ThresholdEvent
from billing.rollups.fold import fold
from billing.types import LimitScope, LimitWindow, NoticeKind
from costtrack.clock import utc_now
from organizations.models import Organization
from tests.billing.limits.factories import make_limit
from tests.concurrency.conftest import run_concurrently
from tests.usage import NOW, Send

pytestmark = pytest.mark.django_db(transaction=True)


def notified() -> list[tuple[int, str, int]]:
    """Of each limit and value: the thresholds."""
    rows = Notice.objects.values_list("data__limit__id", "data__limit__scope_value", "data__threshold")
    return sorted((limit, value, threshold) for limit, value, threshold in rows)


def test_many_that_see_the_same_write_and_send_it_once(organization: Organization, send: Send) -> None:
    limits = [
        make_limit(organization, scope=scope, window=window)
        for scope in (LimitScope.ORGANIZATION, LimitScope.SESSION)
        for window in (LimitWindow.CALENDAR_WEEK, LimitWindow.ROLLING_7D, LimitWindow.LIFETIME)
    ]
    send(*({"id": f"{number}", "session_id": f"s-{number}", "cost_usd": "10"} for number in range(8)))

    done = run_concurrently(lambda _: enforce(organization=organization, now=NOW), range(8))

    assert sum(result.notices for result in done) == 3 + 3 * 8
    assert sum(result.failed for result in done) == 0
    assert max(Counter(notified()).values()) == 1
    assert ThresholdEvent.objects.count() == 3 * (3 + 3 * 8)
    assert {limit for limit, _, _ in notified()} == {limit.pk for limit in limits}


@pytest.mark.timeout(180)
def test_events_that_come_in_meanwhile_are_sent_once_and_none_is_missed(organization: Organization, send: Send) -> None:
    make_limit(organization, window=LimitWindow.LIFETIME, thresholds=(10, 25, 50, 75, 90), amount_usd=Decimal(4))
    each = make_limit(organization, scope=LimitScope.USER, window=LimitWindow.ROLLING_7D, amount_usd=Decimal(1))
    is_over = Event()

    def enforce_until_the_end(_: int) -> EnforcementResult:
        done = EnforcementResult()
        while not is_over.is_set():
            done += enforce(organization=organization, now=utc_now())
        connections.close_all()
        return done

    def send_some(sender: int) -> None:
        for number in range(20):
            event = {"id": f"{sender}-{number}", "cost_usd": "0.05", "occurred_at": utc_now().isoformat()}
            send({**event, "user_id": f"user-{sender}"}, now=utc_now())
            if number % 5 == sender:
                fold(now=utc_now())

    with ThreadPoolExecutor(4) as pool:
        enforcers = [pool.submit(enforce_until_the_end, number) for number in range(4)]
        try:
            run_concurrently(send_some, range(4))
        finally:
            is_over.set()
        done = [enforcer.result(timeout=60) for enforcer in enforcers]
    last = enforce(organization=organization, now=utc_now())

    assert sum(result.failed for result in [*done, last]) == 0
    assert max(Counter(notified()).values()) == 1
    rows = ThresholdEvent.objects.filter(resolved_at=None).exclude(limit=each).values_list("threshold", flat=True)
    assert sorted(rows) == [10, 25, 50, 75, 90, 100]
    # No notice for a threshold that is lower than a previous one.
    notices = Notice.objects.exclude(data__limit__id=each.pk).order_by("pk")
    thresholds = list(notices.values_list("data__threshold", flat=True))
    assert thresholds == sorted(thresholds)
    assert thresholds[-1] == 100
    pauses = Notice.objects.filter(kind=NoticeKind.PAUSED, data__limit__id=each.pk)
    assert sorted(notice.data["limit"]["scope_value"] for notice in pauses) == [f"user-{sender}" for sender in range(4)]


def test_authorizations_and_usage_do_not_wait_for_enforcement(organization: Organization, send: Send) -> None:
    make_limit(organization)
    send({"id": "first", "cost_usd": "9"})
    request = AuthorizationRequest(Dimensions(), Decimal("0.1"), ttl=timedelta(minutes=1))

    def ask(number: int) -> int:
        send({"id": f"{number}", "cost_usd": "0.1"})
        return len(authorize(organization=organization, credential=None, request=request, now=NOW).limits)

    with transaction.atomic():  # everything that enforcement locks stays locked
        assert enforce(organization=organization, now=NOW).notices == 1
        assert run_concurrently(ask, range(4)) == [1, 1, 1, 1]
