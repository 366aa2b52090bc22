"""Pages of events, one after the other, are the whole list in order, each event with its net cost."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from billing.ledger.corrections import adjust, void
from billing.ledger.net_cost import AdjustedEvent, adjustments_of
from billing.models import UsageEvent
from billing.reports.cursors import Position, StartPosition, cursor_of, page_of, position_of, start_position_of
from billing.reports.event_query import EventQuery, Sort
from billing.reports.sql import Parameters, bind, equal_to
from costtrack.calendar import Window
from costtrack.clock import HOUR
from costtrack.errors import InvalidError
from organizations.models import Organization
from tests.profiles import examples
from tests.usage import NOW, Send

START = NOW - 10 * HOUR
COSTS = (None, "0", "1", "2.5")


class Row(NamedTuple):
    id: UUID
    occurred_at: datetime
    cost_usd: Decimal | None
    known_cost_usd: Decimal
    is_priced: bool
    is_voided: bool
    net_input_tokens: int
    net_requests: int


@pytest.fixture
def rows(organization: Organization, other_organization: Organization, send: Send) -> list[Row]:
    """Events of few different times, many of them adjusted, voided or unpriced; as Python says it, newest first."""
    random = Random(13)
    for owner in (organization, other_organization):
        for _ in range(3):
            bodies = []
            for _ in range(20):
                cost = random.choice(COSTS)
                bodies.append(
                    {
                        "occurred_at": (START + random.randrange(4) * HOUR).isoformat(),
                        "model": random.choice(("a", "b")),
                        "input_tokens": random.randrange(3),
                        "session_id": "session",
                        **({"cost_usd": cost} if cost is not None else {}),
                    }
                )
            send(*bodies, to=owner)
        for event in UsageEvent.objects.of(owner).order_by("id")[::2]:
            for cost_usd in random.sample((Decimal(3), Decimal("1.5")), random.randrange(3)):
                adjust(organization=owner, event_id=event.pk, cost_usd=cost_usd, reason="x", actor="x", now=NOW)
        for event in UsageEvent.objects.of(owner).exclude(kind="adjustment").order_by("id")[::7]:
            void(organization=owner, event_id=event.pk, reason="x", actor="x", now=NOW)
    events = list(UsageEvent.objects.of(organization).exclude(kind="adjustment").order_by("-occurred_at", "-id"))
    adjustments = adjustments_of(events)
    return [_row(AdjustedEvent(event, adjustments.get(event.pk, ()))) for event in events]


def _row(adjusted: AdjustedEvent) -> Row:
    return Row(
        id=adjusted.event.pk,
        occurred_at=adjusted.event.occurred_at,
        cost_usd=adjusted.cost_usd,
        known_cost_usd=adjusted.known_cost_usd,
        is_priced=adjusted.is_priced,
        is_voided=adjusted.is_voided,
        net_input_tokens=adjusted.count("input_tokens"),
        net_requests=adjusted.count("requests"),
    )


bounds = st.one_of(st.none(), st.integers(-60, 5 * 60).map(lambda minutes: START + timedelta(minutes=minutes)))


@examples(4)
@given(limit=st.integers(9, 40), start=bounds, end=bounds)
def test_pages_are_the_whole_list(
    organization: Organization, rows: list[Row], limit: int, start: datetime | None, end: datetime | None
) -> None:
    query, after = EventQuery(organization, (Window(start, end),)), None
    pages: list[Row] = []
    while not pages or after is not None:
        page = query.page(Row, after=after, limit=limit)
        assert len(page.rows) == limit or page.last is None
        pages += page.rows
        after = position_of(cursor_of(page.last) or "")
    expected = [row for row in rows if (start or START) <= row.occurred_at and (end is None or row.occurred_at < end)]
    assert pages == expected
    assert query.count(30) == min(len(expected), 30)
    assert query.rows(Row, limit=limit, offset=3, oldest_first=True) == expected[::-1][3 : 3 + limit]
    assert query.by_ids(Row, [row.id for row in rows]) == {row.id: row for row in expected}


@examples(4)
@given(limit=st.integers(9, 40))
def test_pages_by_cost_are_the_whole_list(organization: Organization, rows: list[Row], limit: int) -> None:
    query, after = EventQuery(organization), None
    pages: list[Row] = []
    while not pages or after is not None:
        found, total = query.sorted_rows(Row, sort=Sort.COST, after=after, limit=limit + 1)
        page = page_of(found, limit, lambda row: Position(row.occurred_at, row.id, row.known_cost_usd))
        pages += page.rows
        after = position_of(cursor_of(page.last) or "")
        assert total == len(rows)
    assert pages == sorted(rows, key=lambda row: (row.known_cost_usd, row.occurred_at, row.id), reverse=True)


@examples(4)
@given(limit=st.integers(9, 40))
def test_pages_of_a_session_are_the_whole_list(organization: Organization, rows: list[Row], limit: int) -> None:
    query, after = EventQuery(organization, condition=equal_to({"session_id": "session"})), None
    pages: list[Row] = []
    while not pages or after is not None:
        page = query.page_by_index(Row, after=after, limit=limit)
        pages += page.rows
        after = page.last
    assert pages == rows


def test_rows_may_be_selected_by_their_net_cost(organization: Organization, rows: list[Row]) -> None:
    query = EventQuery(organization)
    for descending in (True, False):
        found, total = query.sorted_rows(
            Row, sort=None, descending=descending, costs=(Decimal(1), Decimal(2)), offset=2, limit=5
        )
        expected = [row for row in rows if 1 <= row.known_cost_usd <= 2]
        expected.sort(key=lambda row: row.occurred_at.timestamp() * (-1 if descending else 1))
        assert [row.occurred_at for row in found] == [row.occurred_at for row in expected[2:7]]
        assert total == len(expected)
    assert query.sorted_rows(Row, sort=None, offset=1_000, limit=5) == ([], len(rows))


def test_windows_and_conditions_are_one_query(organization: Organization, rows: list[Row]) -> None:
    def condition(parameters: Parameters) -> sql.Composable:
        return sql.SQL("input_tokens < {}").format(bind(parameters, 2))

    parts = (Window(START, START + HOUR), Window(START + 2 * HOUR, START + 3 * HOUR))
    found = EventQuery(organization, parts, condition).rows(Row, limit=100)
    times = {START, START + 2 * HOUR}
    raw = {event.pk for event in UsageEvent.objects.of(organization).filter(input_tokens__lt=2)}
    assert found == [row for row in rows if row.occurred_at in times and row.id in raw]


@examples(60)
@given(
    at=st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    event_id=st.uuids(),
    usd=st.one_of(st.none(), st.decimals("-1e12", "1e12", places=12)),
    key=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=255),
)
def test_a_cursor_has_its_position(at: datetime, event_id: UUID, usd: Decimal | None, key: str) -> None:
    assert position_of(cursor_of(Position(at, event_id, usd))) == Position(at, event_id, usd)
    assert start_position_of(cursor_of(StartPosition(at, key))) == StartPosition(at, key)


@pytest.mark.parametrize("cursor", ["x", "\0", "ä", "_" * 32, "A" * 4_000, "AAAA"])
def test_other_texts_are_no_cursors(cursor: str) -> None:
    with pytest.raises(InvalidError) as refused:
        position_of(cursor, param="after")
    assert refused.value.param == "after"


@pytest.mark.parametrize("key", [b"a\0", b"\xff", b"a" * 2_000])
def test_a_session_is_named_by_text(key: bytes) -> None:
    cursor = urlsafe_b64encode(key + bytes(8)).decode()
    with pytest.raises(InvalidError):
        start_position_of(cursor)
