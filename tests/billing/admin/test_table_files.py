"""The small tables of pages are files as well: exact values of all rows, in each format, with the page's filters."""

import csv
import html
import io
import json
import re
from datetime import timedelta
from typing import Any

import pyarrow.parquet
import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.admin.dashboard import outcomes_page
from billing.models import Notice
from billing.notifications.email_examples import example_notice
from billing.types import NoticeKind
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.usage import Send

pytestmark = pytest.mark.usefixtures("whole_history")

PAGES = "/o/acme/admin/"
_LINK = re.compile(r'href="([^"]*[?&]table=[^"]*)"')


@pytest.fixture
def browser(owner: User, sign_in: SignIn) -> Client:
    return sign_in(owner)


def content(browser: Client, url: str) -> bytes:
    response: Any = browser.get(url)
    assert response.status_code == 200, (url, response.content[:500])
    return b"".join(response.streaming_content)


def rows(browser: Client, page: str, table: str) -> list[dict[str, str]]:
    file = content(browser, f"{PAGES}{page}{'&' if '?' in page else '?'}table={table}")
    return list(csv.DictReader(io.StringIO(file.decode("utf-8-sig"))))


def report(api: APIClient, send: Send) -> None:
    now = utc_now()
    for number, usd in enumerate(("2.000000001", "3")):
        run = {"run_id": f"run-{number}", "workflow_id": f"=flow-{number}", "session_id": f"session-{number}"}
        send({"id": f"{number}", "model": "gpt-4o", "cost_usd": usd, "input_tokens": 7, **run}, now=now)
        outcome = {"run_id": f"run-{number}", "name": "resolved", "success": True, "value_usd": "9.5"}
        assert api.post("/usage/outcomes", outcome).status_code in (200, 201)
    terms = {"name": "Seats", "kind": "subscription", "amount_usd": "30", "period": "month"}
    starts = (now - timedelta(days=40)).date().isoformat()
    added = api.post("/usage/commitments", {**terms, "starts": starts, "covers": {"model": ["gpt-4o"]}}, format="json")
    assert added.status_code == 201, added.content


@pytest.mark.parametrize(
    ("page", "tables"),
    [
        ("outcomes/", {"outcomes": 2, "outcomes-by-workflow": 2}),
        ("commitments/", {"commitments": 1, "use-of-commitments": 1}),
        ("sessions/", {"most-expensive-models": 1, "most-expensive-sessions": 2}),
        ("plan/", {"plans": 4}),
    ],
)
def test_each_link_is_a_file_in_its_format(
    browser: Client, api: APIClient, send: Send, page: str, tables: dict[str, int]
) -> None:
    report(api, send)
    shown = browser.get(f"{PAGES}{page}").content.decode()
    links = [html.unescape(link) for link in _LINK.findall(shown)]
    assert len(links) == 3 * len(tables), links
    for link in links:
        (name,) = re.findall(r"table=([\w-]+)", link)
        file = content(browser, link)
        if link.endswith("parquet"):
            number = pyarrow.parquet.read_table(io.BytesIO(file)).num_rows
        elif link.endswith("json"):
            number = len(json.loads(file))
        else:
            number = len(list(csv.DictReader(io.StringIO(file.decode("utf-8-sig")))))
        assert (name, number) == (name, tables[name])


def test_values_are_exact_safe_and_filtered(
    browser: Client, api: APIClient, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(api, send)
    monkeypatch.setattr(outcomes_page, "_ROWS_READ", 1)
    costs = rows(browser, "outcomes/", "outcomes-by-workflow")
    assert [(row["workflow_id"], row["cost_usd"]) for row in costs] == [
        ("'=flow-1", "3"),
        ("'=flow-0", "2.000000001"),
    ]
    assert [row["run_id"] for row in rows(browser, "outcomes/", "outcomes")] == ["run-1", "run-0"]
    assert rows(browser, "outcomes/?outcome=other", "outcomes") == []
    assert [row["notional_usd"] for row in rows(browser, "commitments/", "use-of-commitments")] == ["5.000000001"]
    assert [row["cost_usd"] for row in rows(browser, "sessions/", "most-expensive-sessions")] == ["3", "2.000000001"]


def test_notices_are_a_file_with_what_is_read(browser: Client, organization: Organization) -> None:
    for _ in range(2):
        example = example_notice(NoticeKind.UNPRICED_USAGE, now=utc_now())
        times = {"created_at": example.created_at, "data": example.data}
        notice = Notice.objects.create(
            organization=organization, kind=NoticeKind.UNPRICED_USAGE, subject="Subject", **times
        )
    browser.post(f"{PAGES}notices/", {"read": notice.pk})
    written = rows(browser, "notices/", "notices")
    assert [row["read"] for row in written] == ["true", "false"]
    assert all(row["headline"] and row["created_at"] for row in written)


def test_a_file_needs_exports_and_a_known_table(browser: Client, organization: Organization) -> None:
    assert browser.get(f"{PAGES}plan/?table=other").status_code == 404
    organization.plan_id = "free"
    organization.save()
    assert "table=plans" not in browser.get(f"{PAGES}plan/").content.decode()
    assert browser.get(f"{PAGES}plan/?table=plans").status_code == 403
