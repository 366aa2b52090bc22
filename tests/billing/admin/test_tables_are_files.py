"""Every table of every page has its rows as files: the links are in the table's card, or the table is one of a few that
have none for a reason. Each file can be read in each format."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatch
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import resolve
from rest_framework.test import APIClient

from billing.month_closing import close_month
from billing.rollups.fold import fold
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now
from organizations.models import Organization, User
from organizations.types import Role, Scope
from tests.billing.stored_anomalies import HOUR, make_anomaly
from tests.browser.some_usage import record_some
from tests.conftest import make_key
from tests.html import Element, parse
from tests.limits import set_limit
from tests.pages import every_page, signed_in
from tests.usage import Send, set_price

ADMIN = "/o/acme/admin/"
WITHOUT_FILES = {
    "*: *, as a table": "A chart's data. The page's file has the exact values.",
    "exports: Files": "The files themselves.",
    "getting_started: Credentials": "A step. The page Credentials has the file.",
    "billing_usageevent_*: Before and after": "A question before a change.",
    "billing_repricing_apply: Costs by model, before and after": "A question before a change.",
    "request_log: Models": "The three largest. The file of calls is on the same page.",
    "request_log: Users": "The same.",
    "request_log: Tags": "The same.",
    "price_check: Lines of *": "How one call of the file is explained; the event's page has its lines as a file.",
    "billing_unpricedevent_changelist: Models without a price": "Sums of the list on the same page, which has a file.",
}

_RAW_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")
"""What Python writes for a datetime, in whatever time zone it has."""


@pytest.fixture
def browser(owner: User) -> Client:
    return signed_in(owner)


@pytest.fixture(autouse=True)
def usage(
    whole_history: None,
    browser: Client,
    api: APIClient,
    send: Send,
    owner: User,
    organization: Organization,
    other_organization: Organization,
) -> None:
    """Write something for each table."""
    now = utc_now()
    record_some(organization, other_organization)
    last_month = (now.replace(day=1) - timedelta(days=2)).isoformat()
    call = {"service": "openai", "model": "gpt-5", "input_tokens": 1200, "output_tokens": 34, "user_id": owner.email}
    session = {"session_id": "session", "execution_id": "execution", "phase_id": "plan", "group_id": "group"}
    send({**call, "id": "early", "occurred_at": last_month, "cost_usd": "1"}, now=now)
    send({**call, **session, "id": "own"}, {**call, **session, "id": "differs", "cost_usd": "3"}, now=now)
    send({**session, "id": "used", "kind": "tool_call", "tool": "search", "compute_cost_usd": "0.002"}, now=now)
    assert api.post("/usage/outcomes", {"run_id": "nightly", "name": "done", "success": True}).status_code < 300
    set_limit(organization, "90", LimitScope.USER, window=LimitWindow.LIFETIME)
    make_anomaly(organization, ("user", "ada"), at=now - HOUR)
    bill = f"date,key,model,amount_usd,input_tokens\n{now:%Y-%m-%d},key-1,gpt-5,3,300\n".encode()
    form = {"file": SimpleUploadedFile("bill.csv", bill), "provider": "openai"}
    assert browser.post(f"{ADMIN}provider-bills/import/", form).status_code == 302
    assert browser.post(f"{ADMIN}reports/new/", {"frequency": "weekly", "scope": "organization"}).status_code == 302
    key = {"provider": "openai", "account": "Research", "key": "sk-admin-1234"}
    assert browser.post(f"{ADMIN}provider-bills/connections/key/", key).status_code == 302
    export = {"table": "days", "format": "csv", "parameters": {"start_date": f"{now:%Y-%m-%d}"}}
    client = make_key(organization, *Scope).client()
    assert client.post("/organizations/acme/exports", export, format="json").status_code == 202
    fold(now=now)
    close_month(
        organization=organization,
        month=organization.calendar.date_of(now.replace(day=1) - timedelta(days=2)).replace(day=1),
        acting_as=Role.OWNER,
        actor=owner.email,
        now=now,
    )
    send({**call, "id": "late", "occurred_at": last_month, "cost_usd": "2"}, now=now)
    set_price("gpt-5", provider="openai", organization=organization, input="1", output="9")
    days = {"start_0": f"{now:%Y-%m-%d}", "start_1": "00:00", "end_0": f"{now + timedelta(days=1):%Y-%m-%d}"}
    dry_run = {"organization": organization.pk, **days, "end_1": "00:00", "service": "", "model": ""}
    assert browser.post(f"{ADMIN}billing/repricing/add/", dry_run).status_code == 302
    fold(now=now)


def pages(browser: Client) -> Iterator[tuple[str, Element]]:
    """Yield one page of each kind, and the pages of all events and limits, which have different tables."""
    for path, response in every_page(browser):
        page = parse(response.content.decode())
        assert not _RAW_TIME.search(page.first("main").text), path
        yield path, page
    month = f"{utc_now():%Y-%m}"
    further = [f"statements/?month={month}", "requests/?range=today", "pricing/?range=custom"]
    for name in ("usageevent", "spendlimit"):
        rows = parse(browser.get(f"{ADMIN}billing/{name}/").content.decode())
        links = [link["href"] for link in rows.all("#result_list tbody a") if link["href"].endswith("/change/")]
        further += [link.removeprefix(ADMIN) for link in dict.fromkeys(links)]
    for path in further:
        response = browser.get(f"{ADMIN}{path}")
        assert response.status_code == 200, path
        yield f"{ADMIN}{path}", parse(response.content.decode())


def tables(page: Element) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each table with rows, and the links to its files."""
    for table in page.all("table"):
        if not table.all("tbody tr"):
            continue
        card = next((around for around in table.around() if "ct-card" in around["class"]), page)
        links = [link["href"] for link in card.all("a") if "format=" in link["href"]]
        region = next((around["aria-label"] for around in table.around() if around["aria-label"]), table["id"])
        yield region, links


def view_of(path: str) -> str:
    return resolve(urlsplit(path).path.replace("/o/acme", "", 1)).view_name.removeprefix("admin:")


def test_each_table_is_a_file_in_each_format(browser: Client) -> None:
    problems, names, files = [], set[str](), set[str]()
    for path, page in pages(browser):
        for table, links in tables(page):
            name = f"{view_of(path)}: {table}"
            names.add(name)
            formats = {link.rpartition("format=")[2] for link in links}
            if not formats >= {"csv", "parquet", "json"}:
                problems.append(f"{name}: {sorted(formats)}")
            files |= set(links)
    exceptions = [name for name in WITHOUT_FILES if not any(fnmatch(known, name) for known in names)]
    missing = [p for p in problems if not any(fnmatch(p.rpartition(": ")[0], name) for name in WITHOUT_FILES)]
    assert (missing, exceptions) == ([], [])
    assert len(names) > 80, sorted(names)

    counts = {}
    for link in sorted(link for link in files if not link.endswith("pdf")):
        response: Any = browser.get(link)
        assert response.status_code == 200, link
        counts[link] = rows_of(b"".join(response.streaming_content), link.rpartition("format=")[2])
    assert [link for link, count in counts.items() if not count] == []


def rows_of(content: bytes, name: str) -> int:
    if name == "parquet":
        return int(pyarrow.parquet.read_table(io.BytesIO(content)).num_rows)
    return len(json.loads(content) if name == "json" else list(csv.reader(io.StringIO(content.decode())))[1:])
