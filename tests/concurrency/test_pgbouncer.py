"""Behind PgBouncer in transaction mode: connections change hands after every transaction, and carry nothing over."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection

from billing.models import UsageEvent
from tests.concurrency.conftest import Server, StartServer, run_concurrently
from tests.concurrency.pgbouncer import PgBouncer
from tests.conftest import Key
from tests.plain_http import NO_TLS

pytestmark = pytest.mark.django_db(transaction=True)

POOL_SIZE = 2
BATCHES, EVENTS = 12, 50

# What a client says when it connects; the pooler gives every client its own.
_OF_THE_CLIENT = ("application_name", "client_encoding", "DateStyle", "standard_conforming_strings", "TimeZone")


@pytest.fixture(scope="module")
def pooler(django_db_setup: None) -> Iterator[PgBouncer]:
    with PgBouncer(connection.get_connection_params(), POOL_SIZE) as running:
        yield running


@pytest.fixture(scope="module")
def server(pooler: PgBouncer, start_shared_server: StartServer) -> Server:
    """The web server as in production, with its own pool of connections to the pooler."""
    return start_shared_server(DATABASE_URL=pooler.url)


def client_of(server: Server, key: Key) -> httpx.Client:
    return httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {key.api_key}"}, timeout=60, verify=NO_TLS
    )


def batch(number: int, sender: int) -> list[dict[str, Any]]:
    """The same ids whoever sends them; an event of sender 1 costs one cent, of sender 2 two."""
    return [{"id": f"b{number}-e{index}", "cost_usd": f"0.0{sender}", "run_id": "same"} for index in range(EVENTS)]


def test_two_organizations_at_once_see_their_own_and_nothing_else(
    pooler: PgBouncer, server: Server, key: Key, other_key: Key
) -> None:
    senders = [(key, 1), (other_key, 2)] * 3

    def send_and_read(sender: tuple[Key, int]) -> list[dict[str, Any]]:
        """Each organization's batches are sent three times over, by three threads."""
        whose, cents = sender
        answers = []
        with client_of(server, whose) as client:
            for number in range(BATCHES):
                answers.append(client.post("/usage/events", json=batch(number, cents)).json())
                total = round(client.get("/costs/runs").json()["total_cost"] * 100)
                # Whole batches of this organization's events, and at least those that this thread has sent.
                assert total % (EVENTS * cents) == 0
                assert EVENTS * cents * (number + 1) <= total <= EVENTS * cents * BATCHES
        return answers

    answers = run_concurrently(send_and_read, senders)

    for cents, whose in ((1, key), (2, other_key)):
        mine = [
            answer for sender, given in zip(senders, answers, strict=True) for answer in given if sender[1] == cents
        ]
        assert sum(answer["accepted"] for answer in mine) == BATCHES * EVENTS
        assert sum(answer["duplicates"] for answer in mine) == 2 * BATCHES * EVENTS
        assert whose.credential.organization is not None
        assert UsageEvent.objects.of(whose.credential.organization).count() == BATCHES * EVENTS
        with client_of(server, whose) as client:
            assert client.get("/costs/runs/same").json()["total_cost"] == BATCHES * EVENTS * cents / 100
    assert_nothing_is_left_behind(pooler)


def test_errors_and_health_checks_leave_nothing_behind_either(pooler: PgBouncer, server: Server, key: Key) -> None:
    def ask(number: int) -> None:
        with client_of(server, key) as client:
            assert client.get("/costs/runs/unknown").status_code == 404
            assert client.post("/organizations/acme/credentials", json={"name": "", "scopes": []}).status_code == 422
            assert client.get("/readyz").json()["checks"]["database"]["state"] == "reachable"
            assert client.post("/usage/events", json=[{"id": f"e{number}", "cost_usd": "-1"}]).status_code == 422

    run_concurrently(ask, range(6))
    assert_nothing_is_left_behind(pooler)


def assert_nothing_is_left_behind(pooler: PgBouncer) -> None:
    """Every server connection, held here in a transaction at the same time, is as a fresh one."""
    with ExitStack() as stack:
        pooled = [stack.enter_context(psycopg.connect(pooler.url)) for _ in range(POOL_SIZE)]
        states = [_state(event) for event in pooled]
    assert len({pid for pid, _ in states}) == POOL_SIZE
    with psycopg.connect(**connection.get_connection_params()) as fresh:
        _, expected = _state(fresh)
    for _, state in states:
        assert state == expected


def _state(database: "psycopg.Connection[Any]") -> tuple[int, dict[str, Any]]:
    """The connection's process, its role, tenant, locks, prepared statements, and settings that somebody changed."""
    (pid, user, role, tenant) = _row(
        database,
        "SELECT pg_backend_pid(), current_user, current_setting('role'),"
        " coalesce(current_setting('costtrack.organizations', true), '')",
    )
    (locks,) = _row(database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    (prepared,) = _row(database, "SELECT count(*) FROM pg_prepared_statements")
    changed = database.execute(
        "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name <> ALL (%s)", [list(_OF_THE_CLIENT)]
    ).fetchall()
    return pid, {
        "user": user,
        "role": role,
        "tenant": tenant,
        "locks": locks,
        "prepared": prepared,
        "settings": dict(changed),
    }


def _row(database: "psycopg.Connection[Any]", query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = database.execute(query).fetchone()
    assert row is not None
    return row


def test_as_documented_it_connects_again_soon_after_postgresql_was_away(pooler: PgBouncer) -> None:
    with psycopg.connect(pooler.console_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as console:
        settings = {row[0]: row[1] for row in console.execute("SHOW CONFIG").fetchall()}
    assert settings["server_login_retry"] == "1"
