"""Document 004: whatever was sent and corrected, folded or not, all routes tell the same sums, and the ledger's."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from billing.ledger.corrections import adjust, void
from billing.ledger.price_unpriced import price_unpriced
from billing.ledger.reprice import Selection
from billing.ledger.repricings import reprice
from billing.models import UsageEvent
from billing.rollups.fold import fold
from costtrack.errors import ConflictError
from costtrack.money import number
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import Key, make_key
from tests.usage import NOW, send_events, set_price, total_cost

START, DAYS = datetime(2026, 10, 1, tzinfo=UTC), 5
MONTH = "start_date=2026-10-01&end_date=2026-10-05"
WINDOWS = (
    MONTH,
    "start_date=2026-10-03&end_date=2026-10-03",
    "start_date=2026-10-02&end_date=2026-10-05",
    "start_date=2026-10-02T07:30:00Z&end_date=2026-10-04T18:00:00.5Z",
    "start_date=2026-10-03T01:00:00Z&end_date=2026-10-03T02:00:00Z",
    "start_date=2026-10-02&end_date=2026-10-03T12:00:00Z",
)
TAGS = ("x", "y", "team:red", "team:blue")


def _event(random: Random) -> dict[str, Any]:
    """Any kind, at any time: often on the edge of a day."""
    at = START + timedelta(minutes=random.randrange(DAYS * 24 * 60))
    if random.random() < 0.3:
        day = START + timedelta(days=random.randrange(1, DAYS))
        at = day - timedelta(microseconds=random.randrange(2))
    event: dict[str, Any] = {
        "occurred_at": at.isoformat(),
        "service": random.choice(("openai", "anthropic")),
        "user_id": random.choice(("", "ada", "grace")),
        "end_user": random.choice(("", "palette", "quarry")),
        "tags": random.choices(TAGS, k=random.randrange(4)),
        "session_id": random.choice(("", "s-1", "s-2")),
    }
    kind = random.choice(("model_call",) * 6 + ("tool_call", "compute", "session_summary"))
    if kind == "session_summary":
        return {
            "kind": kind,
            "occurred_at": event["occurred_at"],
            "session_id": "s-1",
            "cost_usd": str(random.random()),
        }
    event |= {"kind": kind, "input_tokens": random.randrange(1000), "output_tokens": random.randrange(100)}
    if kind == "model_call":
        event |= {"model": random.choice(("m-1", "m-2", "later")), "status": random.choice(("success", "failure"))}
    if kind != "model_call" or random.random() < 0.7:
        event["cost_usd"] = str(round(random.random(), 12))
    return event


class World:
    """Two organizations with random usage."""

    def __init__(self, seed: int, organization: Organization, keys: list[Key], other: Organization) -> None:
        self.random = Random(seed)
        self.organization = organization
        for part in range(4):
            for key in keys:
                events = [_event(self.random) for _ in range(8)]
                response = key.client().post("/usage/events", events, format="json")
                assert response.json()["accepted"] == 8
            for sender in (organization, other):
                send_events(sender, *(_event(self.random) for _ in range(8)))
            self._correct()
            if part == 1:
                fold(now=NOW)

    def _correct(self) -> None:
        random, fields = self.random, {"organization": self.organization, "reason": "A test.", "actor": "tests"}
        events = list(UsageEvent.objects.of(self.organization).exclude(kind="adjustment").order_by("id"))
        changes: list[Callable[..., object]] = [void, lambda **which: adjust(cost_usd=Decimal("0.125"), **which)]
        for event in random.sample(events, 4):
            with suppress(ConflictError):  # it was voided before
                random.choice(changes)(event_id=event.pk, now=NOW, **fields)
        price_unpriced(organization=self.organization, now=NOW)


@pytest.fixture(scope="module", params=range(4))
def shared_world(request: pytest.FixtureRequest, shared_transaction: None) -> Iterator[World]:
    with transaction.atomic():
        yield _world(request.param)
        transaction.set_rollback(True)


@pytest.fixture
def world(shared_world: World, db: None) -> World:
    return shared_world


def _world(seed: int) -> World:
    organization, other = (Organization.objects.create(slug=slug, name=slug.title()) for slug in ("acme", "globex"))
    keys = [make_key(organization, Scope.USAGE_WRITE, name=name) for name in ("first", "second")]
    for model in ("m-1", "m-2"):
        set_price(model, input="3", output="15")
    world = World(seed, organization, keys, other)
    if seed % 2:
        set_price("later", input="7", output="11")
        price_unpriced(organization=organization, now=NOW)
        set_price("m-1", input="4", output="20", organization=organization)
        reprice(
            organization=organization,
            selection=Selection(START, START + timedelta(days=3)),
            actor="tests",
            reason="A test.",
            dry_run=False,
            now=NOW,
            progress=lambda _: None,
        )
    if seed // 2:
        fold(now=NOW)
    return world


def about(amount: float | Decimal) -> Any:
    return pytest.approx(float(amount), abs=1e-8)


def bounds(query: str) -> dict[str, datetime]:
    """The window in the words of the ledger, by a way of its own."""
    given = dict(part.split("=") for part in query.split("&"))
    start, end = datetime.fromisoformat(given["start_date"]), datetime.fromisoformat(given["end_date"])
    if "T" not in given["end_date"]:
        end += timedelta(days=1, microseconds=-1)
    return {"occurred_at__gte": start.replace(tzinfo=UTC), "occurred_at__lte": end.replace(tzinfo=UTC)}


def test_rows_days_users_and_the_ledger_agree(api: APIClient, world: World) -> None:
    for window in WINDOWS:
        _rows_days_users_and_the_ledger_agree(api, world, window)


def _rows_days_users_and_the_ledger_agree(api: APIClient, world: World, window: str) -> None:
    ledger = UsageEvent.objects.of(world.organization).filter(**bounds(window))
    total = about(total_cost(ledger))

    rows = api.get(f"/spend/logs?{window}&summarize=false").json()
    days = api.get(f"/spend/logs?{window}").json()
    page = api.get(f"/spend/logs/v2?{window}&page_size=100").json()

    assert len(rows) == ledger.exclude(kind="adjustment").count() == page["total"]
    assert sum(row["spend"] for row in rows) == total
    assert sum(day["spend"] for day in days) == total
    for day in days:
        assert sum(day["users"].values()) == about(day["spend"])
        assert sum(day["models"].values()) == about(day["spend"])
        of_day = [row for row in rows if row["startTime"][:10] == day["startTime"]]
        assert sum(row["spend"] for row in of_day) == about(day["spend"])
        for user, spend in day["users"].items():
            assert sum(row["spend"] for row in of_day if row["user"] == user) == about(spend)
        for key in {row["api_key"] for row in of_day} - {""}:
            assert sum(row["spend"] for row in of_day if row["api_key"] == key) == about(day[key])
    counts = [sum(row[name] for row in rows) for name in ("prompt_tokens", "completion_tokens")]
    sums = ledger.values_list("input_tokens", "cache_read_tokens", "cache_creation_tokens", "output_tokens")
    assert counts == [sum(sum(row[:3]) for row in sums), sum(row[3] for row in sums)]


def test_filters_leave_what_rows_say(api: APIClient, world: World) -> None:
    """In a window of days, and in one of times."""
    for window in (MONTH, WINDOWS[3]):
        _filters_leave_what_rows_say(api, world, window)


def _filters_leave_what_rows_say(api: APIClient, world: World, window: str) -> None:
    rows = api.get(f"/spend/logs?{window}&summarize=false").json()
    keys = {row["api_key"] for row in rows} - {""}

    def days_of(query: str) -> float:
        return float(sum(day["spend"] for day in api.get(f"/spend/logs?{window}&{query}").json()))

    def ids_of(query: str) -> list[str]:
        page = api.get(f"/spend/logs/v2?{window}&{query}&page_size=100").json()
        assert page["total"] == len(page["data"])
        return [row["request_id"] for row in page["data"]]

    for key in keys:
        of_key = [row for row in rows if row["api_key"] == key]
        assert days_of(f"api_key={key}") == about(sum(row["spend"] for row in of_key))
        assert ids_of(f"api_key={key}") == [row["request_id"] for row in of_key]
    for user in ("ada", "grace", "nobody"):
        of_user = [row for row in rows if row["user"] == user]
        assert days_of(f"user_id={user}") == about(sum(row["spend"] for row in of_user))
        assert ids_of(f"user_id={user}") == [row["request_id"] for row in of_user]
        of_both = [row["request_id"] for row in of_user if row["status"] == "failure"]
        assert ids_of(f"user_id={user}&status_filter=failure") == of_both
    expensive = [row["request_id"] for row in rows if row["spend"] >= 0.25]
    assert ids_of("min_spend=0.25") == expensive
    by_spend = api.get(f"/spend/logs/v2?{window}&sort_by=spend&page_size=100").json()["data"]
    spends = [row["spend"] for row in by_spend]
    assert spends == sorted(spends, reverse=True)
    assert len(by_spend) == len(rows)


def test_reports_add_up_to_the_rows(api: APIClient, world: World) -> None:
    for window in WINDOWS:
        _reports_add_up_to_the_rows(api, world, window)


def _reports_add_up_to_the_rows(api: APIClient, world: World, window: str) -> None:
    rows = api.get(f"/spend/logs?{window}&summarize=false").json()
    total = about(sum(row["spend"] for row in rows))

    keys = api.get(f"/global/spend/report?{window}&group_by=api_key").json()
    assert sum(key["total_cost"] for key in keys) == total
    assert sum(key["total_input_tokens"] for key in keys) == sum(row["prompt_tokens"] for row in rows)

    customers = api.get(f"/global/spend/report?{window}&group_by=customer").json()
    of_customers = sum(item["total_spend"] for day in customers for item in day["customers"])
    assert of_customers == about(sum(row["spend"] for row in rows if row["end_user"]))

    tags = {row["individual_request_tag"]: row["total_spend"] for row in api.get(f"/spend/tags?{window}").json()}
    assert set(tags) == {tag for row in rows for tag in row["request_tags"]}
    for tag, spend in tags.items():
        assert sum(row["spend"] for row in rows if tag in row["request_tags"]) == about(spend)
    assert api.get(f"/global/activity?{window}").json()["sum_total_tokens"] == sum(row["total_tokens"] for row in rows)


def test_everything_is_what_the_families_say_together(api: APIClient, world: World) -> None:
    total = about(number(total_cost(UsageEvent.objects.of(world.organization))))

    assert sum(row["spend"] for row in api.get("/spend/logs").json()) == total
    assert sum(row["spend"] for row in api.get("/spend/users").json()) == total
    without_key = [row["spend"] for row in api.get("/spend/logs").json() if not row["api_key"]]
    assert sum(row["spend"] for row in api.get("/spend/keys").json()) + sum(without_key) == total
    of_sessions = sum(row["spend"] for row in api.get("/spend/logs").json() if row["session_id"])
    assert float(api.get("/costs/summary").json()["total_cost_usd"]) == about(of_sessions)
