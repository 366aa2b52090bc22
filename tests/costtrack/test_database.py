"""The pool of database connections: one that has died does not reach a request, and one that lives is not asked."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections
from psycopg_pool import ConnectionPool

from costtrack.database.base import DatabaseWrapper, check_if_requested


@pytest.fixture
def pool(db: None) -> "Iterator[ConnectionPool[Any]]":
    options = {**connection.settings_dict["OPTIONS"], "pool": {"min_size": 1, "max_size": 1, "timeout": 10}}
    wrapper = DatabaseWrapper({**connection.settings_dict, "OPTIONS": options}, "pooled")
    pool = wrapper.pool
    assert pool is not None
    pool.open()
    yield pool
    wrapper.close_pool()


def test_the_product_uses_it() -> None:
    assert isinstance(connections["default"], DatabaseWrapper)


def test_a_connection_that_the_server_has_ended_is_replaced(pool: "ConnectionPool[Any]") -> None:
    with pool.connection() as first:
        ended = first.info.backend_pid
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [ended])

    with pool.connection() as second:
        assert second.execute("SELECT pg_backend_pid()").fetchone() != (ended,)


def test_a_live_connection_is_not_checked(pool: "ConnectionPool[Any]", monkeypatch: pytest.MonkeyPatch) -> None:
    with pool.connection() as lives:
        monkeypatch.setattr(ConnectionPool, "check_connection", lambda _: pytest.fail("checked"))
        check_if_requested(lives)
