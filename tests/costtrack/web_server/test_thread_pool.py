"""The queue of requests: bounded, and fair to tenants."""

import threading

import pytest

from costtrack.web_server import thread_pool
from costtrack.web_server.thread_pool import UNKNOWN, ThreadPool


class Requests:
    """Requests that run until `end` is set. `running` counts those of each tenant that have a thread."""

    def __init__(self, pool: ThreadPool) -> None:
        self.pool = pool
        self.order: list[str] = []
        self.end = threading.Event()
        self._changed = threading.Condition()

    def send(self, tenant: str, share: float | None = None) -> bool:
        def run() -> None:
            with self._changed:
                self.order.append(tenant)
                self._changed.notify_all()
            assert self.end.wait(60)

        return self.pool.submit(tenant, run, share=share)

    def wait_until(self, *running: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: sorted(self.order) == sorted(running), 60), self.order


@pytest.fixture
def long_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_ACTIVE_SECONDS", 3600)


def test_a_tenant_that_is_alone_gets_all_threads_but_one(long_activity: None) -> None:
    requests = Requests(ThreadPool(4, queue_size=20, share=0.25))
    assert all(requests.send("acme") for _ in range(5))
    requests.wait_until("acme", "acme", "acme")
    requests.send("globex")
    requests.wait_until("acme", "acme", "acme", "globex")
    requests.end.set()


def test_while_others_are_active_a_tenant_gets_its_share(long_activity: None) -> None:
    requests = Requests(ThreadPool(8, queue_size=20, share=0.25))
    for tenant in ("globex", *["acme"] * 5):
        assert requests.send(tenant)
    requests.wait_until("globex", "acme", "acme")
    requests.send("initech")
    requests.wait_until("globex", "acme", "acme", "initech")
    requests.end.set()


def test_a_share_of_its_own_counts_from_the_next_request(long_activity: None) -> None:
    requests = Requests(ThreadPool(8, queue_size=40, share=0.25))
    for _ in range(7):
        assert requests.send("acme", 0.5)
    requests.wait_until(*["acme"] * 7)
    requests.end.set()

    requests = Requests(requests.pool)
    for tenant in ("globex", *["acme"] * 6):
        assert requests.send(tenant, 0.5 if tenant == "acme" else None)
    requests.wait_until("globex", *["acme"] * 4)
    requests.end.set()

    requests = Requests(requests.pool)
    for tenant in ("globex", *["acme"] * 6):
        assert requests.send(tenant)
    requests.wait_until("globex", "acme", "acme")
    requests.end.set()


def test_queued_requests_continue_when_the_others_are_no_longer_active(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_ACTIVE_SECONDS", 0.05)
    requests = Requests(ThreadPool(8, queue_size=20, share=0.25))
    for tenant in ("globex", *["acme"] * 5):
        assert requests.send(tenant)
    requests.wait_until("globex", *["acme"] * 5)
    requests.end.set()


def test_unverified_credentials_take_nothing_from_others(long_activity: None) -> None:
    requests = Requests(ThreadPool(8, queue_size=20, share=0.25))
    for tenant in ("acme", *[UNKNOWN] * 4, *["acme"] * 3):
        assert requests.send(tenant)
    requests.wait_until(UNKNOWN, UNKNOWN, *["acme"] * 4)
    requests.end.set()


def test_the_queue_is_full_for_one_tenant_before_it_is_for_all(long_activity: None) -> None:
    requests = Requests(ThreadPool(1, queue_size=4))
    requests.send("acme")
    requests.wait_until("acme")
    assert [requests.send("acme") for _ in range(3)] == [True, True, False]
    assert [requests.send(tenant) for tenant in ("globex", "initech", "umbrella")] == [True, True, False]
    requests.end.set()
    requests.wait_until("acme", "acme", "acme", "globex", "initech")
    assert requests.order[:4] == ["acme", "acme", "globex", "initech"], "they take turns"
