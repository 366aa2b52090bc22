"""Lists and exports of events that all share one time read no more than those of events with different times.

Time is not measured, but the pages of tables and indexes that statements touch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self

import pytest
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from benchmarks.touched import touched
from billing.exports import pricing_zip, usage_files
from billing.ledger.corrections import adjust
from billing.ledger.partitions import ensure_month, partitions
from billing.ledger.reprice import Selection, reprice_step
from billing.models import UsageEvent
from billing.rollups.fold import fold
from costtrack.clock import iso, utc_now
from organizations.models import Membership, Organization, User
from organizations.types import Role, Scope
from tests import database
from tests.conftest import make_key
from tests.usage import Send, set_price

EVENTS = 1_500
PAGE = 250
PAGES = 4
ADJUSTED = 5


@pytest.fixture
def _ledgers(organization: Organization, other_organization: Organization, send: Send) -> None:
    """Acme's events are all of one time, Globex's are not. Some of each are adjusted; all are folded."""
    set_price("gpt-5", provider="openai", input="1")
    Organization.objects.update(plan="enterprise")
    now = utc_now()
    start = now - timedelta(hours=2)
    for owner, step in ((organization, timedelta()), (other_organization, timedelta(milliseconds=1))):
        events = [
            {
                "id": f"event-{number}",
                "occurred_at": iso(start + number * step),
                "session_id": f"session-{number}",
                "execution_id": f"execution-{number}",
                "run_id": f"run-{number // 100}",
                "service": "openai",
                "model": "gpt-5",
                "input_tokens": 10,
            }
            for number in range(EVENTS)
        ]
        send(*events, to=owner, now=now)
        for event in UsageEvent.objects.of(owner).order_by("-occurred_at", "-id")[:ADJUSTED]:
            adjust(
                organization=owner, event_id=event.pk, cost_usd=Decimal(1), reason="Invoice.", actor="tests", now=now
            )
    fold(now=now)
    database.compact()
    # Otherwise the plans would depend on whether autovacuum has been here.
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@dataclass(frozen=True)
class Reader:
    """Who reads an organization's events: by the API and in the browser. (A client takes long to make.)"""

    organization: Organization
    api: APIClient
    browser: Client

    @classmethod
    def of(cls, organization: Organization) -> Self:
        user = User.objects.create(email=f"member@{organization.slug}.example")
        Membership.objects.create(organization=organization, user=user, role=Role.OWNER)
        browser = Client()
        browser.force_login(user)
        return cls(organization, make_key(organization, *Scope).client(), browser)

    def page(self, path: str) -> Any:
        return ok(self.browser.get(f"/o/{self.organization.slug}/admin/{path}"))


Read = Callable[[Reader], None]


def ok(response: Any) -> Any:
    assert response.status_code == 200, response.content
    return response


def api_pages(path: str) -> Read:
    """The newest pages, each from where the one before ended."""

    def read(reader: Reader) -> None:
        cursor = ""
        for _ in range(PAGES):
            answer = ok(reader.api.get(f"{path}?limit=100&cursor={cursor}", headers={"X-Bypass-Cache": "1"})).json()
            assert len(answer["results"]) == 100
            cursor = answer["next_cursor"]

    return read


def api_answers(*paths: str) -> Read:
    def read(reader: Reader) -> None:
        for path in paths:
            ok(reader.api.get(path))

    return read


def admin_pages(path: str) -> Read:
    """The newest page, and those to which its link for older ones leads."""

    def read(reader: Reader) -> None:
        query = ""
        for _ in range(PAGES):
            following = reader.page(f"{path.partition('?')[0]}{query}" if query else path).context["older"]
            assert following
            query = following[following.index("?") :]

    return read


def usage_export(reader: Reader) -> None:
    lines = b"".join(ok(reader.api.get("/usage/export?rows=requests")).streaming_content).splitlines()
    assert len(lines) == EVENTS + 1


def system_export(reader: Reader) -> None:
    assert ok(reader.api.post("/system/export", {})).json()["row_count"] == EVENTS


def dry_run(reader: Reader) -> None:
    now, last = utc_now(), None
    selection = Selection(now - timedelta(days=1), now)
    for _ in range(PAGES):
        part = reprice_step(
            organization=reader.organization, selection=selection, after=last, limit=PAGE, note=None, now=now
        )
        last = part.last
        assert last is not None


DAYS = f"start_date={utc_now() - timedelta(days=2):%Y-%m-%d}&end_date={utc_now() + timedelta(days=1):%Y-%m-%d}"
READS: dict[str, Read] = {
    "GET /usage/requests": api_pages("/usage/requests"),
    "GET /usage/events": api_pages("/usage/events"),
    "GET /usage/export": usage_export,
    "GET /spend/logs": api_answers("/spend/logs"),
    "GET /spend/logs/v2": api_answers(*(f"/spend/logs/v2?{DAYS}&page_size=100&page={page}" for page in (1, 12))),
    "GET /spend/logs/v2 by cost": api_answers(f"/spend/logs/v2?{DAYS}&page_size=100&sort_by=spend"),
    "GET /costs/runs/{run_id}/entries": api_answers("/costs/runs/run-3/entries"),
    "POST /system/export": system_export,
    "request log": admin_pages("requests/"),
    "sessions": admin_pages("sessions/"),
    "executions": admin_pages("sessions/?show=executions"),
    "all events": lambda reader: reader.page("billing/usageevent/?p=15"),
    "repricing": dry_run,
}


@pytest.mark.usefixtures("_ledgers")
def test_equal_times_read_no_more_than_different_ones(
    organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_files, "_PAGE", PAGE)
    monkeypatch.setattr(pricing_zip, "_PAGE", PAGE)
    acme, globex = Reader.of(organization), Reader.of(other_organization)
    READS["GET /usage/events"](globex)  # plans the functions that other statements call
    counts = {}
    for name, read in READS.items():
        with touched() as equal:
            read(acme)
        with touched() as different:
            read(globex)
        assert equal.statements == different.statements > 0, name
        counts[name] = (equal.buffers, different.buffers)
    too_many = {name: count for name, count in counts.items() if count[0] > 1.5 * count[1]}
    assert not too_many, counts


@pytest.mark.django_db
def test_each_month_has_the_index_of_adjustments() -> None:
    ensure_month(datetime(2031, 5, 1, tzinfo=UTC))
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_indexes WHERE indexdef LIKE %s", ["%(organization_id, adjusts)%"])
        indexed = {name for (name,) in cursor.fetchall()}
    assert {partition.name for partition in partitions()} <= indexed
    assert "billing_usageevent_2031_05_shared" in indexed
