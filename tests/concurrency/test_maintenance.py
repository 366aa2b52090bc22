"""Maintenance of rollups during intake, folds and reads."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.models import Sum

from billing.ledger.partitions import partitions
from billing.models import IngestBatch, UsageEvent
from billing.models.rollups import SpendDay
from billing.rollups import chunks, retention
from billing.rollups.fold import Folded, fold
from billing.rollups.locks import lock_rollups
from billing.rollups.rebuild import rebuild
from billing.rollups.retention import drop_events
from billing.rollups.verify import verify
from costtrack.errors import ConflictError
from organizations.models import Organization
from tests.profiles import choose
from tests.usage import NOW, Send

CALL = {"model": "gpt-4o", "cost_usd": "0.1", "session_id": "s", "run_id": "r", "tags": ["a"]}
AUGUST, SEPTEMBER = datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)
REQUESTS_PER_STEP = 40
IN_AUGUST = datetime(2026, 8, 20, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def meanwhile(*works: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Each is done again and again in a thread of its own, until the block ends."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def run_next_step(work: Callable[[], object]) -> None:
        try:
            while not ended.is_set():
                work()
        except BaseException as error:  # noqa: BLE001 - reported by the test's thread
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run_next_step, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)
    assert errors == []


@contextmanager
def another_connection() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Does things in one transaction of another connection, which is committed when the block ends."""
    queued_work: list[Callable[[], object]] = []
    turn, done, failed = threading.Semaphore(0), threading.Semaphore(0), []

    def work() -> None:
        try:
            with transaction.atomic():
                while True:
                    turn.acquire()
                    if not queued_work:
                        return
                    queued_work.pop()()
                    done.release()
        except BaseException as error:  # noqa: BLE001 - reported by the test's thread
            failed.append(error)
            done.release()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()

    def do(this: Callable[[], object]) -> None:
        queued_work.append(this)
        turn.release()
        done.acquire()

    try:
        yield do
    finally:
        turn.release()
        thread.join(60)
    assert failed == []


def requests(organization: Organization) -> int:
    total: int = SpendDay.live().objects.of(organization).aggregate(sum=Sum("requests", default=0))["sum"]
    return total


def is_right(organization: Organization) -> bool:
    return not any(check.count for check in verify(organization_id=organization.pk, now=NOW))


def test_intake_and_folds_go_on_while_rollups_are_verified_and_rebuilt(
    send: Send, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "MAX_EVENTS", 40)
    # A bounded number of requests for each step: the fewer events there are, the less a rebuild takes.
    requests_left = threading.Semaphore(0)
    sent = 0

    def take_in() -> None:
        nonlocal sent
        if not requests_left.acquire(timeout=0.02):
            return
        days = (sent % 9 + 1, (sent * 7) % 9 + 1)
        send(*({**CALL, "occurred_at": f"2026-10-0{day}T12:00:00Z", "session_id": f"s-{sent % 5}"} for day in days))
        sent += 2

    with meanwhile(take_in, lambda: fold(now=NOW), lambda: fold(now=NOW)):
        for _ in range(choose(3, long=30)):
            requests_left.release(REQUESTS_PER_STEP)
            assert is_right(organization)
            requests_left.release(REQUESTS_PER_STEP)
            assert not any(rebuild(organization_id=organization.pk).values())

    assert requests(organization) == sent
    fold(now=NOW)
    assert not IngestBatch.objects.filter(folded_at=None).exists()
    assert SpendDay.objects.aggregate(sum=Sum("requests"))["sum"] == sent
    assert is_right(organization)


def test_folds_leave_an_organization_out_while_its_rollups_are_locked(
    send: Send, organization: Organization, other_organization: Organization
) -> None:
    def take() -> None:
        with connection.cursor() as cursor:
            lock_rollups(cursor, organization.pk)

    with another_connection() as other:
        other(take)
        send(CALL)
        send(CALL, to=other_organization)
        assert fold(now=NOW) == Folded(1, 1)
        assert requests(organization) == 1
    assert fold(now=NOW) == Folded(1, 1)


@pytest.fixture
def august(send: Send) -> None:
    """Three events that were received in August, two of them are folded."""
    old = {**CALL, "occurred_at": "2026-08-01T00:00:00Z"}
    send(old, old, now=IN_AUGUST)
    fold(now=NOW)
    send(old, now=IN_AUGUST)


def drop_august() -> None:
    drop_events(before=SEPTEMBER, actor="tests", now=NOW, report=lambda _: None)


def drop_august_and_leave() -> None:
    drop_august()
    connections.close_all()


def has_august() -> bool:
    return any(partition.month == AUGUST for partition in partitions())


@pytest.mark.usefixtures("august")
def test_events_are_dropped_while_others_are_taken_in_and_read(send: Send, organization: Organization) -> None:
    sent = 3
    read: list[int] = []

    def take_in() -> None:
        nonlocal sent
        send(CALL)
        sent += 1

    with meanwhile(take_in, lambda: fold(now=NOW), lambda: read.append(requests(organization))):
        drop_august()

    assert not has_august()
    assert read == sorted(read)
    assert requests(organization) == sent
    assert is_right(organization)


@pytest.mark.usefixtures("august")
def test_a_table_that_is_in_use_for_a_moment_is_waited_for(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_refused = threading.Event()

    def pause(seconds: float) -> None:
        """After an attempt that failed."""
        is_refused.set()
        time.sleep(seconds)

    monkeypatch.setattr(retention, "sleep", pause)
    with another_connection() as reader:
        reader(UsageEvent.objects.count)
        dropping = threading.Thread(target=drop_august_and_leave)
        dropping.start()
        assert is_refused.wait(60)
        assert has_august()
    dropping.join(60)

    assert not has_august()
    assert requests(organization) == 3
    assert is_right(organization)


@pytest.mark.usefixtures("august")
def test_a_table_that_is_in_use_all_the_time_stays_as_it_is(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_ATTEMPTS", 2)
    monkeypatch.setattr(retention, "_PAUSE_SECONDS", 0)
    with another_connection() as reader:
        reader(UsageEvent.objects.count)
        with pytest.raises(ConflictError, match="in use"):
            drop_august()
    assert UsageEvent.objects.count() == requests(organization) == 3
    assert not SpendDay.objects.filter(archived=True).exists()
    assert is_right(organization)


@pytest.mark.usefixtures("august")
def test_who_still_writes_to_an_old_month_is_waited_for(send: Send, organization: Organization) -> None:
    with another_connection() as writer:
        writer(lambda: send(CALL, now=IN_AUGUST + timedelta(days=1)))
        dropping = threading.Thread(target=drop_august_and_leave)
        dropping.start()
        dropping.join(1)
        assert dropping.is_alive()
    dropping.join(60)

    assert not UsageEvent.objects.exists()
    assert requests(organization) == 4
    assert is_right(organization)


@pytest.mark.usefixtures("august")
def test_two_who_drop_the_same_month_do_it_once(organization: Organization) -> None:
    with meanwhile(drop_august, drop_august):
        drop_august()

    assert not has_august()
    assert requests(organization) == 3
    assert is_right(organization)
