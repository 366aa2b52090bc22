"""`/healthz`, `/readyz` and the operators' page: what they say when all is well, and when each thing is missing."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from costtrack import heartbeat
from costtrack.health import registry
from costtrack.health.queues import MANY_MESSAGES
from costtrack.health.registry import Check, Link
from costtrack.health.servers import redis_checks
from costtrack.heartbeat import RunningTask
from costtrack.queues import Queue
from organizations.models import User
from tests.costtrack.heartbeats import all_well, worker
from tests.redis_server import RedisServer
from tests.usage import Send

PAGE = "/admin/health/"


@pytest.fixture(autouse=True)
def _all_well(db: None) -> Iterator[None]:
    heartbeat.client.cache_clear()
    all_well()
    yield
    heartbeat.client.cache_clear()


@pytest.fixture
def another_check(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Registers a check as an app does; it is gone after the test."""
    monkeypatch.setattr(registry, "_sources", dict(registry._sources))

    def register(function: Callable[[], list[Check]], *, needed_for_requests: bool) -> None:
        registry.register("fold_lag", function, needed_for_requests=needed_for_requests)

    return register


def late() -> list[Check]:
    return [Check("fold_lag", "Folding", "Rollups", ok=False, state="late", details={"Lag": "93 s"}, advice="Look.")]


def broken() -> list[Check]:
    raise ValueError("secret reason")


def states(client: Client) -> tuple[int, dict[str, str]]:
    response = client.get("/readyz")
    return response.status_code, {name: check["state"] for name, check in response.json()["checks"].items()}


ALL_WELL = {
    "database": "reachable",
    "migrations": "applied",
    "tenant_role": "complete",
    "redis": "reachable",
    "queue_intake": "running",
    "queue_rollups": "running",
    "queue_limits": "running",
    "queue_maintenance": "running",
    "queue_notifications": "running",
    "queue_exports": "running",
    "beat": "running",
}


def test_the_process_is_healthy_without_its_services(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "host", "/nowhere")
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready_when_everything_is_there(client: Client) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["status"] == "ready"
    assert states(client) == (200, ALL_WELL)
    assert "no-store" in response["Cache-Control"]


def test_every_queue_without_a_consumer_is_named(client: Client) -> None:
    heartbeat.worker_lives(worker(Queue.INTAKE, Queue.ROLLUPS))
    unattended = {f"queue_{name}": "unattended" for name in ("limits", "maintenance", "notifications", "exports")}
    assert states(client) == (503, {**ALL_WELL, **unattended})
    heartbeat.worker_lives(worker(*Queue, name="other@here"))
    assert states(client) == (200, ALL_WELL)
    heartbeat.worker_ends("other@here")
    assert states(client) == (503, {**ALL_WELL, **unattended})


def test_a_queue_that_is_consumed_in_vain_is_stuck(client: Client) -> None:
    heartbeat.client().delete("costtrack:tick:exports")
    assert states(client) == (503, {**ALL_WELL, "queue_exports": "stuck"})
    heartbeat.ticked("exports")
    assert states(client) == (200, ALL_WELL)


def test_not_ready_without_beat(client: Client) -> None:
    heartbeat.client().delete("costtrack:beat")
    assert states(client) == (503, {**ALL_WELL, "beat": "missing"})


def test_a_heartbeat_expires_and_its_worker_is_forgotten(client: Client) -> None:
    key = "costtrack:worker:worker@here"
    assert 0 < int(heartbeat.client().ttl(key)) <= 20
    heartbeat.client().delete(key)
    assert states(client)[0] == 503
    assert heartbeat.client().scard("costtrack:workers") == 0


def test_what_redis_has_of_before_its_clock_was_set_back_is_no_sign_of_life(client: Client) -> None:
    seconds, _ = heartbeat.client().time()
    for queue in Queue:
        heartbeat.client().set(f"costtrack:tick:{queue}", seconds + 3600)
    assert states(client) == (503, {**ALL_WELL, **dict.fromkeys((f"queue_{queue}" for queue in Queue), "stuck")})
    for name in ("costtrack:beat", "costtrack:worker:worker@here"):
        heartbeat.client().expire(name, 3600)
    unattended = dict.fromkeys((f"queue_{queue}" for queue in Queue), "unattended")
    assert states(client) == (503, {**ALL_WELL, **unattended, "beat": "missing"})


def test_not_ready_while_a_migration_is_missing(client: Client) -> None:
    parameters = connection.get_connection_params()
    latest = ("sessions", "0001_initial")
    # On a connection of its own, because /readyz sees only what is committed.
    with psycopg.connect(**parameters, autocommit=True) as database:
        database.execute("DELETE FROM django_migrations WHERE app = %s AND name = %s", latest)
        try:
            assert states(client) == (503, {**ALL_WELL, "migrations": "pending"})
        finally:
            database.execute("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, now())", latest)
    assert states(client) == (200, ALL_WELL)


def test_not_ready_without_the_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "host", "/nowhere")
    unknown = {"database": "unreachable", "migrations": "unknown", "tenant_role": "unknown"}
    assert states(client) == (503, {**ALL_WELL, **unknown})


def test_not_ready_without_redis(client: Client, settings: Settings) -> None:
    heartbeat.client.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    unknown = {name: "unknown" for name in ALL_WELL if name.startswith(("queue_", "beat"))}
    assert states(client) == (503, {**ALL_WELL, "redis": "unreachable", **unknown})


def test_a_redis_without_memory_is_full_and_says_nothing_about_queues(
    client: Client, settings: Settings, redis_server: RedisServer
) -> None:
    heartbeat.client.cache_clear()
    settings.REDIS_URL = redis_server.url
    all_well()
    used = redis_server.client.info("memory")["used_memory"]
    redis_server.client.config_set("maxmemory", used + used // 20)
    [check] = redis_checks()
    assert (check.state, check.advice) == ("reachable", "Redis is nearly full. Raise maxmemory.")
    assert re.fullmatch(r"\d\.\d MB of \d\.\d MB", check.details["Memory"])

    redis_server.client.config_set("maxmemory", used // 2)

    unknown = {name: "unknown" for name in ALL_WELL if name.startswith(("queue_", "beat"))}
    assert states(client) == (503, {**ALL_WELL, "redis": "full", **unknown})
    redis_server.client.config_set("maxmemory-policy", "allkeys-lru")
    [check] = redis_checks()
    assert (check.ok, check.advice.startswith("Redis may drop queued messages")) == (True, True)


def test_a_redis_whose_disk_is_full_is_full(client: Client, settings: Settings, tmp_path: Path) -> None:
    """Its append-only file is a device that is always full."""
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonly.aof").symlink_to("/dev/full")
    server = RedisServer(tmp_path)
    try:
        heartbeat.client.cache_clear()
        settings.REDIS_URL = server.url
        with pytest.raises(redis.ResponseError, match="MISCONF"):
            all_well()
        [check] = redis_checks()
        assert (check.state, check.advice.startswith("Redis cannot write to its disk")) == ("full", True)
        unknown = {name: "unknown" for name in ALL_WELL if name.startswith(("queue_", "beat"))}
        assert states(client) == (503, {**ALL_WELL, "redis": "full", **unknown})
    finally:
        server.remove()


def test_a_stranger_learns_no_details(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "host", "/secret/place")
    assert b"secret" not in client.get("/readyz").content


def test_servers_that_take_a_connection_and_say_nothing_do_not_make_it_slow(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        heartbeat.client.cache_clear()
        settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "host", "127.0.0.1")
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "port", port)
        started = time.monotonic()
        status, _ = states(client)
        assert status == 503
        assert time.monotonic() - started < 60, "they are given up"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_only_read(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405
    assert client.head(path).status_code == 200


def test_a_check_of_an_app_stops_requests_only_if_they_need_it(
    client: Client, another_check: Callable[..., None]
) -> None:
    another_check(late, needed_for_requests=False)
    assert states(client) == (200, ALL_WELL)
    another_check(late, needed_for_requests=True)
    assert states(client) == (503, {**ALL_WELL, "fold_lag": "late"})


def test_a_check_that_fails_itself_is_not_ready_and_no_error(
    client: Client, another_check: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    another_check(broken, needed_for_requests=True)
    assert states(client) == (503, {**ALL_WELL, "fold_lag": "unknown"})
    assert b"secret" not in client.get("/readyz").content
    assert "health check failed" in caplog.text


# --- The page --------------------------------------------------------------------------------------------------


def test_operators_see_every_check_with_its_details(
    client: Client, operator: User, another_check: Callable[..., None]
) -> None:
    another_check(late, needed_for_requests=False)
    client.force_login(operator)
    response = client.get(PAGE)
    assert response.status_code == 200
    page = response.content.decode()
    for shown in ("PostgreSQL", "Migrations", "Redis", "Beat", "Folding", *Queue):
        assert shown in page
    for shown in ("worker@here", "93 s", "1 check needs attention", "Look."):
        assert shown in page


def test_the_page_says_what_to_do(client: Client, operator: User) -> None:
    heartbeat.worker_lives(worker(*[queue for queue in Queue if queue != Queue.EXPORTS]))
    client.force_login(operator)
    assert "celery --app costtrack.celery worker --queues exports" in client.get(PAGE).content.decode()


def test_the_page_shows_what_a_worker_is_at(client: Client, operator: User) -> None:
    client.force_login(operator)
    pricing = RunningTask("billing.price_unpriced", 200)
    heartbeat.worker_lives(worker(*Queue, tasks=[pricing]))
    # A task is one queue's, unless another queue has to wait for it.
    assert client.get(PAGE).content.decode().count("billing.price_unpriced, 3 min") == 1
    heartbeat.client().delete("costtrack:tick:exports")
    assert client.get(PAGE).content.decode().count("billing.price_unpriced, 3 min") == 2


def test_the_page_shows_every_worker_that_beats(client: Client, operator: User) -> None:
    heartbeat.worker_lives(worker(Queue.ROLLUPS, name="rollups@there", slots=4, tasks=[RunningTask("billing.fold", 1)]))
    workers = {check.title: check for check in registry.checks() if check.section == "Workers"}
    assert set(workers) == {"rollups@there", "worker@here"}
    assert workers["rollups@there"].details == {
        "Queues": "rollups",
        "Busy": "1 of 4 processes",
        "Last message": "60 min ago",
        "Up for": "60 min",
    }
    client.force_login(operator)
    assert "rollups@there" in client.get(PAGE).content.decode()


def test_the_servers_say_how_full_they_are() -> None:
    details = {check.name: check.details for check in registry.checks()}
    assert set(details["database"]) == {"Version", "Connections"}
    assert set(details["redis"]) == {"Version", "Memory"}


def test_a_growing_queue_is_reported_before_it_is_stuck(client: Client) -> None:
    heartbeat.client().rpush("exports", *range(MANY_MESSAGES))
    check = {check.name: check for check in registry.checks()}["queue_exports"]
    assert (check.ok, check.state) == (True, "running")
    assert "another worker" in check.advice
    assert states(client) == (200, ALL_WELL)


def test_the_page_refreshes_its_changing_part_alone(client: Client, operator: User) -> None:
    client.force_login(operator)
    full_page = client.get(PAGE)
    assert 'hx-trigger="every 10s"' in full_page.content.decode()
    partial = client.get(PAGE, headers={"HX-Request": "true"})
    assert "All checks passed" in partial.content.decode()
    assert "<html" not in partial.content.decode()
    assert "HX-Request" in partial["Vary"]


def test_the_page_leads_to_more(client: Client, operator: User, another_check: Callable[..., None]) -> None:
    link = Link("Look at it", "/somewhere/")
    another_check(
        lambda: [Check("x", "X", "Things", ok=True, state="odd", advice="Hm.", links=(link,))],
        needed_for_requests=False,
    )
    client.force_login(operator)
    page = client.get(PAGE).content.decode()
    assert '<a class="ct-link" href="/somewhere/">Look at it</a>' in page
    assert "All checks passed" in page


def test_the_page_asks_as_much_of_the_database_however_much_there_is(
    client: Client, operator: User, send: Send
) -> None:
    client.force_login(operator)
    counts = []
    for number in (1, 30):
        send(*({"model": f"m-{number}-{index}", "input_tokens": 1} for index in range(number)))
        client.get(PAGE)
        with CaptureQueriesContext(connection) as captured:
            client.get(PAGE)
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 30


def test_the_page_opens_without_redis(client: Client, operator: User, settings: Settings) -> None:
    heartbeat.client.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    client.force_login(operator)
    page = client.get(PAGE).content.decode()
    assert "unreachable" in page
    # Redis itself, the queues, beat, and rate limits.
    assert f"{len(Queue) + 3} checks need attention" in page


def test_members_of_an_organization_do_not_see_the_page(client: Client, owner: User) -> None:
    client.force_login(owner)
    assert client.get(PAGE).status_code == 403
    assert PAGE not in client.get("/admin/", follow=True).content.decode()


def test_anonymous_users_are_redirected_to_sign_in(client: Client) -> None:
    response = client.get(PAGE)
    assert (response.status_code, response["Location"]) == (302, f"/admin/login/?next={PAGE}")


def test_operators_start_rebuilding_and_verifying(operator: User, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr("costtrack.health.page.enqueue_on_commit", sent.append)
    client = Client()
    client.force_login(operator)
    for action in ("verify", "rebuild"):
        assert f'value="{action}"' in client.get(PAGE).content.decode()
        assert client.post(PAGE, {"action": action}).status_code == 302
    assert sent == ["billing.verify_rollups", "billing.rebuild_rollups"]
    assert client.post(PAGE, {"action": "drop"}).status_code == 403
    client.force_login(owner)
    assert client.post(PAGE, {"action": "rebuild"}).status_code == 403
    assert len(sent) == 2
