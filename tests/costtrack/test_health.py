"""`/healthz` and `/readyz`: what they say when all is well, and when each thing is missing."""

import socket
import time
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from costtrack import heartbeat


@pytest.fixture(autouse=True)
def _worker_beats(db: None) -> Iterator[None]:
    heartbeat.client.cache_clear()
    heartbeat.beat()
    yield
    heartbeat.client.cache_clear()


def states(client: Client) -> tuple[int, dict[str, str]]:
    response = client.get("/readyz")
    return response.status_code, {name: check["state"] for name, check in response.json()["checks"].items()}


ALL_WELL = {"database": "reachable", "migrations": "applied", "redis": "reachable", "worker": "running"}


def test_the_process_is_healthy_whatever_else_is_missing(
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


def test_not_ready_without_a_worker_that_beats(client: Client) -> None:
    heartbeat.end()
    assert states(client) == (503, {**ALL_WELL, "worker": "not running"})
    heartbeat.beat()
    assert states(client) == (200, ALL_WELL)


def test_a_heartbeat_ends_by_itself() -> None:
    assert 0 < int(heartbeat.client().ttl(heartbeat.KEY)) <= 20


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
    assert states(client) == (503, {**ALL_WELL, "database": "unreachable", "migrations": "unknown"})


def test_not_ready_without_redis(client: Client, settings: Settings) -> None:
    heartbeat.client.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert states(client) == (503, {**ALL_WELL, "redis": "unreachable", "worker": "unknown"})


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
        assert time.monotonic() - started < 6


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_only_read(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405
    assert client.head(path).status_code == 200
