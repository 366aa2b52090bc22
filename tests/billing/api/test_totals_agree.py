"""The summary, the breakdown, the explorer and all files have one total, whatever is filtered and grouped."""

import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from random import Random
from typing import Any

import pyarrow as pa
import pytest
import time_machine
from django.test import Client
from pyarrow import parquet
from rest_framework.test import APIClient

from billing.exports.export_jobs import run_export
from billing.models import Export
from billing.reports.usage.figures import DIMENSIONS, GroupBy
from billing.rollups.fold import fold
from costtrack.clock import iso
from organizations.models import Organization, User
from tests.conftest import Key
from tests.usage import NOW, Send, send_events

pytestmark = pytest.mark.usefixtures("whole_history")

VALUES: dict[str, tuple[str, ...]] = {
    "model": ("gpt-4o", "o3", "claude-sonnet-4-5"),
    "capability": ("chat", "agents"),
    "status": ("success", "failure"),
    "user_id": ("ada", "bob"),
    "team": ("search", "ads"),
    "end_user": ("acme",),
    "provider": ("openai",),
    "service": ("openai", "anthropic"),
    "agent_id": ("grader",),
    "workflow_id": ("nightly", "review"),
    "session_id": ("s1", "s2"),
    "run_id": ("r1", "r2", "r3"),
    "tool": ("search",),
    "tag": ("env:prod", "env:dev"),
}
BY = [dimension.by.value for dimension in DIMENSIONS if dimension.by is not GroupBy.TAG]


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def event(number: int, drawn: Random) -> dict[str, Any]:
    chosen = {name: drawn.choice((*values, "")) for name, values in VALUES.items() if name not in ("tag", "provider")}
    tags = drawn.sample(VALUES["tag"], drawn.randrange(3))
    at = NOW - timedelta(minutes=drawn.randrange(60 * 24 * 40))
    kind = "tool_call" if chosen["tool"] else "model_call"
    cost = {} if number % 17 == 0 else {"cost_usd": f"{drawn.randrange(10**9)}e-9"}
    return {
        **{name: value for name, value in chosen.items() if value},
        "id": f"{number}",
        "kind": kind,
        "occurred_at": iso(at),
        "tags": tags,
        "input_tokens": number,
        **cost,
    }


@pytest.fixture
def usage(organization: Organization, send: Send, key: Key) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="Pacific/Auckland")
    drawn = Random(7)
    events = [event(number, drawn) for number in range(120)]
    send(*events[:80])
    fold(now=NOW)
    send_events(organization, *events[80:], credential=key.credential)


def content(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def total_of_csv(text: bytes) -> Decimal:
    rows = csv.DictReader(StringIO(text.decode("utf-8-sig")))
    return sum((Decimal(row["cost_usd"] or 0) for row in rows), Decimal(0))


@pytest.mark.usefixtures("usage")
def test_there_is_one_total_for_twenty_random_filters(api: APIClient, owner: User) -> None:
    drawn, page = Random(20), Client()
    page.force_login(owner)
    for number in range(20):
        names = drawn.sample(sorted(VALUES), drawn.choice((0, 1, 1, 2)))
        query = {
            "range": drawn.choice(("7d", "30d", "month", "last_month")),
            **{name: drawn.choice(VALUES[name]) for name in names},
        }
        by, granularity = drawn.sample(BY, drawn.choice((1, 2))), drawn.choice(("", "week", "day"))
        rows = {**query, "rows": "breakdown", "group_by": ",".join(by), "granularity": granularity}
        total = Decimal(api.get("/usage/summary", query).json()["cost_usd"])
        body = api.get("/usage/breakdown", {**query, "group_by": ",".join(by)}).json()
        costs = parquet.read_table(BytesIO(content(api.get("/usage/export", {**rows, "format": "parquet"})))).column(
            "cost_usd"
        )
        totals = {
            "breakdown": Decimal(body["total"]["cost_usd"]),
            "rows": sum((Decimal(row["cost_usd"]) for row in body["results"]), Decimal(0)),
            "csv": total_of_csv(content(api.get("/usage/export", rows))),
            "parquet": sum(costs.to_pylist(), Decimal(0)),
        }
        table = {**query, "group_by": ",".join(by), "granularity": granularity} if number % 2 else query
        totals["file of the background"] = total_of_export(api, "breakdown" if number % 2 else "requests", table)
        if number % 4 == 0:
            totals |= {
                **totals_of_page(
                    page, {**query, "group_by": by[0], "then_by": "".join(by[1:]), "columns": granularity}
                ),
                "json": sum(
                    Decimal(row["cost_usd"])
                    for row in json.loads(content(api.get("/usage/export", {**rows, "format": "json"})))
                ),
                "events": total_of_csv(content(api.get("/usage/export", query))),
            }
        assert totals == dict.fromkeys(totals, total), query
        assert costs.type == pa.decimal128(38, 24)


def total_of_export(api: APIClient, table: str, parameters: dict[str, str]) -> Decimal:
    """The total of a file that a worker creates."""
    body = {"table": table, "parameters": parameters}
    export = api.post("/organizations/acme/exports", body, format="json").json()
    run_export(export=Export.objects.select_related("organization__plan").get(pk=export["id"]))
    return total_of_csv(content(api.get(f"/organizations/acme/exports/{export['id']}/file")))


def totals_of_page(page: Client, query: dict[str, str]) -> dict[str, Decimal]:
    shown = page.get("/o/acme/admin/explore/", query).context["table"]
    return {
        "explorer": sum((row.figures.cost_usd for row in shown.rows), Decimal(0)),
        "csv of the page": total_of_csv(content(page.get("/o/acme/admin/explore/file/", query))),
    }
