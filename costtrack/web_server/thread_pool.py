"""The threads that run Django, and the queue of requests for them.

The queue is bounded, and fair to tenants: the next request is one of the tenant with the fewest running requests.
A tenant gets all threads but one while it is alone, so that the first request of another one never waits for a thread.
While others are active, it gets its share (of its plan, or else of the installation): more threads would not make it
faster than the processors allow, but everyone else slower.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

UNKNOWN = "unknown"
"""The tenant of unverified credentials. It has a share, but does not reduce the shares of others."""
_ACTIVE_SECONDS = 2.0
"""A tenant is active for this long after each of its requests."""

Job = Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Activity:
    tenant: Hashable
    at: float


class ThreadPool:
    """Runs jobs in threads. Jobs must not raise."""

    def __init__(self, threads: int, *, queue_size: int, share: float = 1.0, name: str = "django") -> None:
        self._queue_size = queue_size
        self._max_queued_of_tenant = max(1, queue_size // 2)
        self._threads = threads
        self._share = share
        self._shares: dict[Hashable, float] = {}
        """The shares of tenants with queued requests that differ from `share`."""
        self._threads_if_alone = max(1, threads - 1)
        self._queued: dict[Hashable, deque[Job]] = {}
        self._count = 0
        self._running: Counter[Hashable] = Counter()
        self._latest: _Activity | None = None
        self._before: _Activity | None = None
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        for number in range(threads):
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    def submit(self, tenant: Hashable, job: Job, *, share: float | None = None) -> bool:
        """Queue a job; False if the queue, or this tenant's half of it, is full. `share` is the tenant's own share of
        the threads from now on."""
        with self._lock:
            queued = self._queued.get(tenant)
            if self._count >= self._queue_size or (queued and len(queued) >= self._max_queued_of_tenant):
                return False
            if queued is None:
                queued = self._queued[tenant] = deque()
            queued.append(job)
            if share is not None:
                self._shares[tenant] = share
            else:
                self._shares.pop(tenant, None)
            self._count += 1
            self._note_activity(tenant, time.monotonic())
            self._has_work.notify()
            return True

    def _note_activity(self, tenant: Hashable, now: float) -> None:
        if tenant == UNKNOWN:
            return
        if self._latest is not None and self._latest.tenant != tenant:
            self._before = self._latest
        self._latest = _Activity(tenant, now)

    def _work(self) -> None:
        while True:
            tenant, job = self._take()
            try:
                job()
            finally:
                self._finish(tenant)

    def _take(self) -> tuple[Hashable, Job]:
        with self._lock:
            while (tenant := self._next_tenant()) is None:
                # Queued jobs may be admitted as soon as the other tenants are no longer active.
                self._has_work.wait(_ACTIVE_SECONDS if self._queued else None)
            queued = self._queued.pop(tenant)
            job = queued.popleft()
            if queued:
                self._queued[tenant] = queued  # at the end: tenants take turns
            else:
                self._shares.pop(tenant, None)
            self._count -= 1
            self._running[tenant] += 1
            return tenant, job

    def _finish(self, tenant: Hashable) -> None:
        with self._lock:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]
            if self._queued:
                self._has_work.notify()

    def _next_tenant(self) -> Hashable | None:
        now = time.monotonic()
        fewest, chosen = 0, None
        for tenant in self._queued:
            running = self._running[tenant]
            if running < self._max_running(tenant, now) and (chosen is None or running < fewest):
                fewest, chosen = running, tenant
        return chosen

    def _max_running(self, tenant: Hashable, now: float) -> int:
        other = self._before if self._latest is not None and self._latest.tenant == tenant else self._latest
        is_alone = other is None or now - other.at > _ACTIVE_SECONDS
        if is_alone:
            return self._threads_if_alone
        return max(1, round(self._threads * self._shares.get(tenant, self._share)))
