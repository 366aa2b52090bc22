"""`GET /usage/requests`: the calls behind the numbers. (What it shares with `/usage/summary` is tested there.)"""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from billing.ledger.corrections import adjust, void
from billing.ledger.price_unpriced import price_unpriced
from billing.models import UsageEvent
from billing.rollups.fold import fold
from costtrack.clock import iso
from organizations.models import Organization
from tests.conftest import Key
from tests.usage import NOW, Send, set_price

PATH = "/usage/requests"


@pytest.fixture(autouse=True)
def _monday_noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def listed(api: APIClient, query: str = "") -> list[dict[str, Any]]:
    response = api.get(f"{PATH}?{query}")
    assert response.status_code == 200, response.content
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def ids(api: APIClient, query: str = "") -> list[str]:
    return [row["event_id"] for row in listed(api, query)]


def at(minutes: int) -> str:
    return iso(NOW - timedelta(minutes=minutes))


def test_a_row_shows_endpoint_time_credential_and_status(api: APIClient, key: Key) -> None:
    """Document 001: endpoint called, timestamp, API credential used, response status."""
    sent = {
        "id": "a",
        "request_id": "req-1",
        "occurred_at": at(5),
        "endpoint": "/v1/chat/completions",
        "capability": "chat",
        "service": "openai",
        "model": "gpt-4o",
        "status": "failure",
        "status_code": 529,
        "input_tokens": 10,
        "output_tokens": 3,
        "cache_read_tokens": 4,
        "cache_creation_tokens": 2,
        "cost_usd": "0.0000001",
    }
    assert api.post("/usage/events", sent, format="json").status_code == 200

    answer = api.get(PATH).json()

    assert answer["results"] == [
        {
            "id": str(UsageEvent.objects.get().pk),
            "event_id": "a",
            "request_id": "req-1",
            "time": at(5),
            "endpoint": "/v1/chat/completions",
            "capability": "chat",
            "service": "openai",
            "model": "gpt-4o",
            "client_id": key.credential.client_id,
            "status": "failure",
            "status_code": 529,
            "prompt_tokens": 16,
            "completion_tokens": 3,
            "cached_tokens": 4,
            "total_tokens": 19,
            "cost_usd": "0.0000001",
            "voided": False,
        }
    ]
    assert answer["next_cursor"] is None
    assert answer["window"]["start"] == "2026-10-04T00:00:00+00:00"


def test_costs_have_their_adjustments_which_are_no_rows(api: APIClient, organization: Organization, send: Send) -> None:
    send(
        {"id": "void", "occurred_at": at(4), "cost_usd": "1"},
        {"id": "adjusted", "occurred_at": at(3), "cost_usd": "1", "compute_cost_usd": "0.5"},
        {"id": "priced", "occurred_at": at(2), "model": "later", "input_tokens": 1_000_000},
        {"id": "unknown", "occurred_at": at(1), "model": "never", "input_tokens": 5},
        {"id": "tool", "occurred_at": at(1), "kind": "tool_call", "tool": "search", "cost_usd": "9"},
        {"id": "summary", "occurred_at": at(1), "kind": "session_summary", "session_id": "s", "cost_usd": "9"},
    )
    by_id = {event.event_id: event.pk for event in UsageEvent.objects.all()}
    why: dict[str, Any] = {"reason": "A test.", "actor": "tests", "now": NOW}
    void(organization=organization, event_id=by_id["void"], **why)
    adjust(organization=organization, event_id=by_id["adjusted"], cost_usd=Decimal(3), **why)
    set_price("later", input="2")
    price_unpriced(organization=organization, now=NOW)

    rows = {row["event_id"]: (row["cost_usd"], row["voided"]) for row in listed(api)}

    assert rows == {"unknown": (None, False), "priced": ("2", False), "adjusted": ("3", False), "void": ("0", True)}


@pytest.mark.parametrize("is_folded", [True, False])
@pytest.mark.parametrize("query", ["limit=2", "limit=2&model=m"])
def test_pages_go_on_where_the_last_one_ended(api: APIClient, send: Send, query: str, is_folded: bool) -> None:  # noqa: FBT001
    """Also among calls of the same instant, over empty days, and while new ones come in."""
    days = (0, 0, 0, 0, 0, 1, 9, 9, 29)
    sent = [
        {"id": f"{number}", "model": "m", "occurred_at": iso(NOW - timedelta(days=day, minutes=10))}
        for number, day in enumerate(days)
    ]
    others = [{"model": "other", "occurred_at": iso(NOW - timedelta(days=day))} for day in range(30)]
    send(*sent, *(others if "model" in query else ()))
    if is_folded:
        fold(now=NOW)
    seen: list[str] = []
    cursor: str | None = ""
    for page in range(5):
        body = api.get(f"{PATH}?{query}&cursor={cursor}").json()
        seen += [row["event_id"] for row in body["results"]]
        send({"id": f"later-{page}", "model": "m", "occurred_at": at(0)})
        cursor = body["next_cursor"]
    assert cursor is None
    assert seen == ["4", "3", "2", "1", "0", "5", "7", "6", "8"]


def test_voided_calls_do_not_hide_older_ones(api: APIClient, organization: Organization, send: Send) -> None:
    """The rollup counts them no more, and they are in the list."""
    send(*({"id": f"{day}", "model": "m", "occurred_at": iso(NOW - timedelta(days=day))} for day in range(6)))
    for event in UsageEvent.objects.filter(event_id__in=("0", "1", "3")):
        void(organization=organization, event_id=event.pk, reason="A test.", actor="tests", now=NOW)
    fold(now=NOW)
    assert ids(api, "model=m&limit=4") == ["0", "1", "2", "3"]
    assert ids(api, "model=m") == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ("endpoint=/v1/chat", ["a"]),
        ("capability=chat", ["b", "a"]),
        ("capability=chat&status=error", ["b"]),
        ("status=success", ["c", "a"]),
        ("model=gpt-4o", ["c", "b"]),
        ("model=gpt-4o&endpoint=/v1/embeddings", ["c"]),
        ("client_id=none", ["c", "b", "a"]),
        ("client_id=ct_unknown", []),
        ("endpoint=unknown", []),
        ("start_date=2026-11-02T11:45:00Z", ["c", "b"]),
        ("start_date=2026-11-01&end_date=2026-11-02T11:50:00Z", ["a"]),
        ("start_date=2026-11-01&end_date=2026-11-02T11:50:00.000001Z", ["b", "a"]),
        ("start_date=2026-11-02T11:45:00Z&model=gpt-4o&end_date=2026-11-02T11:54:59.999999Z", ["b"]),
        ("range=yesterday", []),
        ("limit=1", ["c"]),
    ],
)
def test_filters(api: APIClient, send: Send, query: str, result: list[str]) -> None:
    send(
        {"id": "a", "occurred_at": at(30), "endpoint": "/v1/chat", "capability": "chat", "model": "claude"},
        {"id": "b", "occurred_at": at(10), "capability": "chat", "model": "gpt-4o", "status": "failure"},
        {"id": "c", "occurred_at": at(5), "endpoint": "/v1/embeddings", "model": "gpt-4o"},
    )
    assert ids(api, query) == result


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=" + "9" * 400, "limit"),
        ("cursor=abc", "cursor"),
        ("cursor=%C3%A4", "cursor"),
        ("cursor=" + "_" * 32, "cursor"),
        ("cursor=" + "x" * 101, "cursor"),
        ("endpoint=a%00b", "endpoint"),
    ],
)
def test_wrong_queries_are_refused_by_name(api: APIClient, query: str, field: str) -> None:
    response = api.get(f"{PATH}?{query}")
    assert response.status_code == 422, response.content
    assert list(response.json()["fields"]) == [field]


def test_two_hundred_rows_are_a_page_and_no_more(api: APIClient, send: Send) -> None:
    send(*({"id": f"{number}", "occurred_at": at(1)} for number in range(201)))
    assert len(ids(api, "limit=200")) == 200
    assert len(ids(api)) == 50


def test_another_organizations_calls_are_not_listed(
    api: APIClient, other_organization: Organization, send: Send
) -> None:
    send({"id": "theirs", "model": "m"}, to=other_organization)
    assert ids(api) == ids(api, "model=m") == []
