"""Reports add the unfolded events to rollups, each once, whatever is folded or stored in the meantime."""

from collections.abc import Callable
from datetime import timedelta
from operator import methodcaller
from typing import Any

import pytest
from psycopg import sql
from pytest_django import DjangoAssertNumQueries

from billing.reports import rollup_reader
from billing.reports.rollup_reader import RollupReader, unfolded_sums
from billing.rollups.definitions import MODEL_DAYS, ROLLUPS, SESSION_TOTALS, TAG_DAYS, Rollup
from billing.rollups.fold import fold
from billing.rollups.sql import key_columns, measure_columns
from organizations.models import Organization
from tests.billing.rollups.planting import FULL, rows_of_full
from tests.usage import NOW, Send

SECOND = timedelta(seconds=1)
OTHER = {**FULL, "model": "other", "service": "anthropic", "session_id": "session-2", "run_id": "run-2", "tags": ["c"]}


@pytest.fixture(autouse=True)
def _no_cached_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = type(unfolded_sums)(rollup_reader.MAX_BYTES, size_of=lambda sums: sums.size)
    monkeypatch.setattr(rollup_reader, "unfolded_sums", cache)


def requests(reader: RollupReader, rollup: Rollup) -> int:
    """Return the number of requests that a reader finds in a rollup."""
    return int(reader.read(lambda reader: count_in(reader.table(rollup)))[0][0])


def count_in(table: sql.Composable) -> sql.Composed:
    return sql.SQL("SELECT coalesce(sum(requests), 0) FROM {} AS row WHERE organization_id = %(organization)s").format(
        table
    )


def rows_of(organization: Organization, rollup: Rollup) -> list[tuple[Any, ...]]:
    """Return the rollup with the unfolded events, merged by key."""
    keys = sql.SQL(", ").join(map(sql.Identifier, key_columns(rollup)))
    merged = sql.SQL(", ").join(
        sql.SQL("{}({})").format(sql.SQL(measure.merge.value), sql.Identifier(measure.column))
        for measure in rollup.measures
    )

    def compose(reader: RollupReader) -> sql.Composable:
        return sql.SQL(
            "SELECT {keys}, {merged} FROM {table} AS row WHERE organization_id = %(organization)s"
            " GROUP BY {keys} ORDER BY {keys}"
        ).format(keys=keys, merged=merged, table=reader.table(rollup))

    return RollupReader(organization).read(compose)


@pytest.mark.parametrize("max_events_as_rows", [0, 100], ids=["with sums", "some with events"])
def test_every_rollup_reads_the_same_before_and_after_folding(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch, max_events_as_rows: int
) -> None:
    monkeypatch.setattr(rollup_reader, "MAX_EVENTS_AS_ROWS", max_events_as_rows)
    send(FULL)
    fold(now=NOW)
    send(FULL, OTHER)
    send(OTHER)
    unfolded = {rollup.name: rows_of(organization, rollup) for rollup in ROLLUPS}
    cached = {rollup.name: rows_of(organization, rollup) for rollup in ROLLUPS}

    fold(now=NOW)

    assert unfolded == cached == {rollup.name: rows_of(organization, rollup) for rollup in ROLLUPS}
    assert all(unfolded.values())


def test_sums_of_unfolded_events_have_one_row_for_each_key(organization: Organization, send: Send) -> None:
    send(FULL, FULL)
    send(FULL)
    for rollup in ROLLUPS:
        rows = RollupReader(organization).read(methodcaller("unfolded", rollup))
        assert len(rows) == rows_of_full(rollup), rollup.name
        position = len(key_columns(rollup)) + measure_columns(rollup).index("requests")
        assert {row[position] for row in rows} == {3}


def test_sums_are_cached_until_the_unfolded_batches_change(
    organization: Organization, send: Send, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    send(FULL)
    with django_assert_num_queries(3):  # the table, the sums, both
        assert requests(RollupReader(organization), MODEL_DAYS) == 1
    reader = RollupReader(organization)
    for known in (reader, RollupReader(organization)):
        with django_assert_num_queries(1):  # the process knows the state
            assert requests(known, MODEL_DAYS) == 1

    send(FULL)
    with django_assert_num_queries(3):  # with outdated sums, the sums, with both
        assert requests(reader, MODEL_DAYS) == 2
    send(FULL)
    with django_assert_num_queries(3):  # the state, the sums, both
        assert requests(RollupReader(organization), TAG_DAYS) == 6
    fold(now=NOW)
    assert requests(reader, MODEL_DAYS) == 3
    with django_assert_num_queries(1):
        assert requests(RollupReader(organization), MODEL_DAYS) == 3


def test_a_rollup_that_is_read_by_key_uses_sums_of_many_events_only(
    organization: Organization,
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    monkeypatch.setattr(rollup_reader, "MAX_EVENTS_AS_ROWS", 2)
    send(FULL)
    send(FULL)
    with django_assert_num_queries(2):  # the table, and with the events
        assert requests(RollupReader(organization), SESSION_TOTALS) == 2

    send(FULL)
    with django_assert_num_queries(3):  # with the events, the sums, both
        assert requests(RollupReader(organization), SESSION_TOTALS) == 3
    with django_assert_num_queries(1):
        assert requests(RollupReader(organization), SESSION_TOTALS) == 3


@pytest.mark.parametrize("rollup", [MODEL_DAYS, SESSION_TOTALS], ids=["with sums", "with events"])
def test_an_outdated_state_hides_nothing(organization: Organization, send: Send, rollup: Rollup) -> None:
    """Whether batches were folded since, or one with a smaller id was stored."""
    send(FULL)
    assert requests(RollupReader(organization), rollup) == 1
    fold(now=NOW)
    assert requests(RollupReader(organization), rollup) == 1
    send(FULL, now=NOW + SECOND)
    assert requests(RollupReader(organization), rollup) == 2
    send(FULL, now=NOW - SECOND)
    assert requests(RollupReader(organization), rollup) == 3


def test_a_report_that_names_its_keys_sends_only_their_sums(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup_reader, "MAX_EVENTS_AS_ROWS", 0)
    send(FULL, OTHER)
    reader = RollupReader(organization)
    keys: list[str]

    def compose(reader: RollupReader) -> sql.Composable:
        return count_in(reader.table(SESSION_TOTALS, lambda: keys))

    for keys, expected in ((["session-2", "unknown"], 1), (["session-1", "session-2"], 2), (["unknown"], 0)):
        assert reader.read(compose) == [(expected,)]
        assert sum("session-1" in str(value) for value in reader.parameters.values()) == ("session-1" in keys)


def test_each_organization_has_its_own_sums(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    send(FULL)
    send(FULL, FULL, to=other_organization)

    assert requests(RollupReader(organization), MODEL_DAYS) == 1
    assert requests(RollupReader(other_organization), MODEL_DAYS) == 2


def fold_all() -> None:
    fold(now=NOW)


@pytest.mark.parametrize("rollup", [MODEL_DAYS, SESSION_TOTALS], ids=["with sums", "with events"])
def test_what_changes_while_a_statement_is_composed_counts_once(
    organization: Organization, send: Send, rollup: Rollup
) -> None:
    send(FULL)
    changes: list[Callable[[], object]] = [lambda: send(FULL), fold_all, lambda: send(FULL)]

    def compose(reader: RollupReader) -> sql.Composable:
        table = reader.table(rollup)
        if changes:
            changes.pop(0)()
        return count_in(table)

    [(count,)] = RollupReader(organization).read(compose)
    while changes:
        changes.pop(0)()

    assert count in (1, 2, 3)
    assert requests(RollupReader(organization), rollup) == 3


@pytest.mark.parametrize("step", [SECOND, -SECOND], ids=["ids ascend", "clocks differ"])
def test_a_report_is_complete_although_something_is_stored_at_each_attempt(
    organization: Organization, send: Send, step: timedelta
) -> None:
    sent = 0

    def compose(reader: RollupReader) -> sql.Composable:
        nonlocal sent
        table = reader.table(MODEL_DAYS)
        send(FULL, now=NOW + sent * step)
        sent += 1
        return count_in(table)

    assert RollupReader(organization).read(compose) == [(sent,)]


def test_sums_that_change_while_a_statement_uses_several_are_not_mixed(organization: Organization, send: Send) -> None:
    """The second sums are of a newer state than the first, so the statement is composed again."""
    send(FULL)
    is_first = True

    def compose(reader: RollupReader) -> sql.Composable:
        nonlocal is_first
        models = count_in(reader.table(MODEL_DAYS))
        if is_first and reader.parameters.keys() > {"organization"}:
            is_first = False
            send(FULL)
        tags = count_in(reader.table(TAG_DAYS))
        return sql.SQL("SELECT ({}), ({})").format(models, tags)

    assert RollupReader(organization).read(compose) == [(2, 4)]


def test_sums_that_are_too_large_are_not_cached(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup_reader, "MAX_SUMS_BYTES", 10)
    send(FULL)
    send(FULL, OTHER)

    for rollup in ROLLUPS:
        assert requests(RollupReader(organization), rollup) == 2 * rows_of_full(rollup) + requests_of_other(rollup)
    rows = RollupReader(organization).read(lambda reader: reader.unfolded(MODEL_DAYS))
    assert len(rows) == 2


def requests_of_other(rollup: Rollup) -> int:
    return {"tag_days": 1, "scope_hours": 8, "scope_totals": 8}.get(rollup.name, 1)
