"""Every page writes times in the organization's time zone, or in UTC if the viewer chose so; the same words have the
same amount everywhere."""

import csv
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any

import pytest
import time_machine
from django.test import Client
from pyarrow import parquet
from rest_framework.test import APIClient

from billing.limits.enforce import enforce
from billing.models import Notice
from billing.notifications.emails import render
from billing.rollups.fold import fold
from billing.types import LimitWindow
from costtrack.clock import iso
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.limits import set_limit
from tests.usage import Send

NOW = datetime(2026, 11, 15, 1, 30, tzinfo=UTC)  # Sunday, 14:30 in Auckland
MIDNIGHT = datetime(2026, 11, 14, 11, 0, tzinfo=UTC)
MONTH = datetime(2026, 10, 31, 11, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def sunday_in_auckland() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def auckland(organization: Organization, send: Send) -> Organization:
    """Events at both sides of the beginnings of the day, the week and the month."""
    Organization.objects.filter(pk=organization.pk).update(time_zone="Pacific/Auckland", plan="enterprise")
    organization.refresh_from_db()
    result = send(
        *(
            {"occurred_at": iso(at), "cost_usd": cost, "service": "openai", "model": "gpt-4o", "run_id": "r"}
            for at, cost in (
                (MONTH - SECOND, "1000"),
                (MONTH, "100"),
                (MIDNIGHT - SECOND, "20"),
                (MIDNIGHT, "3"),
                (NOW - timedelta(minutes=2), "0.5"),
            )
        ),
        now=NOW,
    )
    assert result.accepted == 5, result
    return organization


PATHS = ("billing/usageevent/", "billing/ingestbatch/", "billing/run/", "requests/", "usage/")
LISTS = (
    *("session", "execution", "generationgroup", "unpricedevent", "quarantinedrecord", "upload", "repricing"),
    *("authorization", "thresholdevent", "increaserequest", "delivery", "webhookendpoint", "priceversion", "agreement"),
    *("credit", "spendlimit"),
)
OTHERS = (
    "organizations/apicredential/",
    "organizations/auditentry/",
    "plan/",
    "exports/",
    "sessions/",
    "runs/",
    "start/",
)


def written(browser: Client, path: str) -> str:
    """The page without the attributes for programs and the switch."""
    response: Any = browser.get(f"/o/acme/admin/{path}")
    assert response.status_code == 200, path
    return re.sub(r'datetime="[^"]*"|Show times in UTC', "", response.content.decode())


@pytest.mark.usefixtures("auckland")
def test_times_are_local_or_in_utc_by_choice(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    for path in PATHS:
        page = written(browser, path)
        assert "Times are in Pacific/Auckland." in page, path
        assert "Nov 15, 2026, 2:30" in page or "Nov 15, 2026, 2:28" in page, path
    for path in (*PATHS, *(f"billing/{name}/" for name in LISTS), *OTHERS):
        page = written(browser, path)
        assert "Nov 15, 2026, 1:" not in page, path
        assert not re.search(r"\bUTC\b", page), path
    chosen = browser.get("/o/acme/admin/billing/usageevent/?clock=utc&q=")
    assert chosen["Location"] == "/o/acme/admin/billing/usageevent/?q="
    for path in PATHS:
        page = written(browser, path)
        assert "Times are in UTC." in page, path
        assert "Show times in Pacific/Auckland" in page, path
        assert "Nov 15, 2026, 1:30" in page or "Nov 15, 2026, 1:28" in page, path
    assert browser.get("/o/acme/admin/usage/?clock=local").status_code == 302
    assert "Times are in Pacific/Auckland." in written(browser, "usage/")


def text(browser: Client, path: str) -> str:
    response: Any = browser.get(f"/o/acme/admin/{path}")
    assert response.status_code == 200, path
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_the_same_words_have_the_same_amount_on_every_page_and_in_mails(
    auckland: Organization, owner: User, sign_in: SignIn, api: APIClient
) -> None:
    """Today is $3.50, this week (from Monday) $23.50 and this month $123.50, wherever they are written."""
    fold(now=NOW)
    for window, amount in (
        (LimitWindow.CALENDAR_DAY, "4"),
        (LimitWindow.CALENDAR_WEEK, "25"),
        (LimitWindow.CALENDAR_MONTH, "130"),
    ):
        set_limit(auckland, amount, window=window)
    browser = sign_in(owner)
    for path in ("usage/", "usage/?clock=utc", "usage/?range=today", "usage/?range=month&granularity=hour"):
        browser.get(f"/o/acme/admin/{path}")
        usage: Any = browser.get(f"/o/acme/admin/{path}", follow=True)
        shown = [str(spend.figure.value) for spend in usage.context["spend_figures"]]
        assert shown == ["$3.50", "$23.50", "$123.50"], path
        assert usage.context["limits"].attention.count == 3
    for preset, amount in (("today", "$3.50"), ("week", "$23.50"), ("month", "$123.50"), ("last_month", "$1,000.00")):
        for page in ("usage", "explore", "pricing"):
            assert amount in text(browser, f"{page}/?range={preset}"), (page, preset)
        summary = api.get(f"/usage/summary?range={preset}").json()
        assert f"${Decimal(summary['cost_usd']):,.2f}" == amount
    limits = text(browser, "billing/spendlimit/")
    for amount in ("$3.50 of $4.00", "$23.50 of $25.00", "$123.50 of $130.00"):
        assert amount in limits
    for page in ("plan/", "forecast/", "statements/?month=2026-11", "allocation/?month=2026-11"):
        assert "$123.50" in text(browser, page), page
    enforce(organization=auckland, now=NOW)
    mails = " ".join(
        " ".join(part.split())
        for notice in Notice.objects.all()
        for part in render(notice=notice, organization=auckland)
    )
    for words in (
        "Acme Research has spent $3.50 of $4.00 today.",
        "Acme Research has spent $23.50 of $25.00 this week.",
        "Acme Research has spent $123.50 of $130.00 this month.",
        "Nov 15, 2026, 12:00 AM to Nov 16, 2026, 12:00 AM",
        "Nov 9, 2026, 12:00 AM to Nov 16, 2026, 12:00 AM",
        "Nov 1, 2026, 12:00 AM to Dec 1, 2026, 12:00 AM",
        "Times are in Pacific/Auckland.",
    ):
        assert words in mails, words
    subjects = " ".join(Notice.objects.values_list("subject", flat=True))
    for amount in ("$3.50 of $4.00", "$23.50 of $25.00", "$123.50 of $130.00"):
        assert amount in subjects


def content(response: Any) -> bytes:
    assert response.status_code == 200, response
    return b"".join(response.streaming_content)


def costs_of(file: bytes, file_format: str) -> Decimal:
    if file_format == "csv":
        costs: Any = [row["cost_usd"] for row in csv.DictReader(StringIO(file.decode("utf-8-sig")))]
    elif file_format == "json":
        costs = [row["cost_usd"] for row in json.loads(file)]
    else:
        costs = parquet.read_table(BytesIO(file)).column("cost_usd").to_pylist()
    return sum((Decimal(cost or 0) for cost in costs), Decimal(0))


@pytest.mark.usefixtures("auckland")
def test_files_have_the_amounts_of_the_pages(owner: User, sign_in: SignIn, api: APIClient) -> None:
    fold(now=NOW)
    browser = sign_in(owner)
    for preset, amount in (("today", "3.5"), ("week", "23.5"), ("month", "123.5"), ("last_month", "1000")):
        usage: Any = browser.get(f"/o/acme/admin/usage/?range={preset}")
        explore: Any = browser.get(f"/o/acme/admin/explore/?range={preset}")
        files = [*usage.context["files"], *explore.context["files"].links]
        sums = {
            name: costs_of(content(browser.get(url)), name.lower() if name in ("JSON", "Parquet") else "csv")
            for name, url in files
        }
        sums |= {
            f"{rows} {file_format}": costs_of(
                content(api.get("/usage/export", {"range": preset, "rows": rows, "format": file_format})), file_format
            )
            for rows in ("days", "requests")
            for file_format in ("csv", "json", "parquet")
        }
        assert len(sums) >= 11, sums
        assert sums == dict.fromkeys(sums, Decimal(amount)), preset
