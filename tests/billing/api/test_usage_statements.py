"""`/usage/statements`: the statement of a month, its file, its corrections, and closing it."""

import csv
from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any

import pytest
import time_machine
from pyarrow import parquet
from pypdf import PdfReader
from rest_framework.test import APIClient

from billing.models import ClosedMonth
from billing.rollups.fold import fold
from costtrack.date_text import utc_text
from organizations.models import Organization, User
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")

OCTOBER = "/usage/statements/2026-10"
CALL = {"model": "gpt-4o", "input_tokens": 100, "occurred_at": "2026-10-20T12:00:00Z"}
FILES = [{"by": by, "format": name} for by in ("team", "credential", "tag") for name in ("csv", "pdf")]


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def usage(send: Send) -> None:
    send(
        {**CALL, "team": "search", "cost_usd": "1.000000000000000000000001"},
        {**CALL, "team": "ads", "cost_usd": "2", "model": "o3"},
        {**CALL, "team": "ads", "model": "unknown"},
    )


@pytest.fixture
def as_owner(owner: User) -> APIClient:
    client = APIClient()
    client.force_login(owner)
    return client


def content(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def text_of(response: Any) -> str:
    """Return the text of a PDF file, its lines joined by spaces."""
    pages = PdfReader(BytesIO(content(response))).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def only_event(api: APIClient, **filters: str) -> str:
    [event] = api.get("/usage/events", filters).json()["results"]
    return str(event["id"])


@pytest.mark.usefixtures("usage")
def test_page_file_and_cursor_have_the_same_lines(api: APIClient) -> None:
    body = api.get(OCTOBER, {"by": "team"}).json()
    lines = [(line["key"], line["model"], line["cost_usd"], line["unpriced_events"]) for line in body["lines"]]
    assert lines == [
        ("ads", "o3", "2", 0),
        ("ads", "unknown", None, 1),
        ("search", "gpt-4o", "1.000000000000000000000001", 0),
    ]
    assert body["totals"]["total"]["cost_usd"] == "3.000000000000000000000001"
    assert (body["totals"]["total"]["unpriced_events"], body["month"]["state"]) == (1, "open")

    first = api.get(OCTOBER, {"by": "team", "limit": "2"}).json()
    second = api.get(OCTOBER, {"by": "team", "limit": "2", "cursor": first["next_cursor"]}).json()
    assert [*first["lines"], *second["lines"]] == body["lines"]
    assert second["next_cursor"] is None

    rows = list(csv.DictReader(StringIO(content(api.get(f"{OCTOBER}/file", {"by": "team"})).decode())))
    assert [(row["team"], row["model"], row["cost_usd"] or None, int(row["unpriced_events"])) for row in rows] == lines
    table = parquet.read_table(BytesIO(content(api.get(f"{OCTOBER}/file", {"by": "team", "format": "parquet"}))))
    assert table.column("cost_usd").null_count == 1


@pytest.mark.usefixtures("usage")
def test_an_owner_closes_a_month_and_its_file_stays_the_same_to_the_byte(
    as_owner: APIClient, api: APIClient, organization: Organization, send: Send
) -> None:
    assert api.post(f"{OCTOBER}/close").json()["code"] == "owners_only"
    closed = as_owner.post(f"{OCTOBER}/close").json()
    assert (closed["state"], closed["closed_by"]) == ("closed", "owner@acme.example")
    assert as_owner.post(f"{OCTOBER}/close").status_code == 409
    files = [content(api.get(f"{OCTOBER}/file", options)) for options in FILES]
    page = api.get(OCTOBER).content

    send({**CALL, "team": "search", "cost_usd": "5"})
    fold(now=NOW)
    Organization.objects.filter(pk=organization.pk).update(name="Acme", time_zone="Asia/Tokyo")

    assert [content(api.get(f"{OCTOBER}/file", options)) for options in FILES] == files
    assert api.get(OCTOBER).content == page
    assert api.get("/usage/statements/2026-11").json()["totals"]["corrections"][0]["month"] == "2026-10"
    [correction] = api.get("/usage/statements/2026-11/corrections").json()["results"]
    assert (correction["month"], correction["cost_usd"], correction["team"]) == ("2026-10", "5", "search")
    months = api.get("/usage/statements").json()["results"]
    assert [(month["month"], month["state"]) for month in months] == [("2026-11", "open"), ("2026-10", "closed")]


@pytest.mark.usefixtures("usage")
def test_a_document_has_the_figures_of_the_page_and_names_what_is_corrected(
    as_owner: APIClient, api: APIClient, send: Send
) -> None:
    open_month = text_of(api.get(f"{OCTOBER}/file", {"by": "team", "format": "pdf"}))
    now = utc_text(NOW)
    assert f"Open, as of {now}. It can still change." in open_month
    assert "1 event has no price." in open_month
    as_owner.post(f"{OCTOBER}/close")
    event = only_event(api, team="search")
    as_owner.post(f"/usage/events/{event}/adjust", {"cost_usd": "0.5", "reason": "A discount"}, format="json")
    send({**CALL, "team": "Поиск 検索", "cost_usd": "1234.000000000000000000000009"})
    fold(now=NOW)

    october = text_of(api.get(f"{OCTOBER}/file", {"by": "team", "format": "pdf"}))
    assert f"Closed by owner@acme.example, {now}" in october
    assert "search gpt-4o Usage 1 100 0 0 0 $1.000000000000000000000001" in october
    assert "Total 3 300 0 0 0 $3.000000000000000000000001" in october
    response = api.get("/usage/statements/2026-11/file", {"by": "team", "format": "pdf"})
    assert response.headers["Content-Disposition"] == 'attachment; filename="statement-acme-2026-11-team.pdf"'
    november = text_of(response)
    total = Decimal("1234.000000000000000000000009") - Decimal("0.500000000000000000000001")
    assert api.get("/usage/statements/2026-11").json()["totals"]["total"]["cost_usd"] == str(total)
    assert f"Corrections of October 2026 1 100 0 0 0 ${total:,}" in november
    assert "Поиск 検索 gpt-4o" in november
    assert f"event {event}" in november
    assert "A discount" in november
    assert "No limit was reached or changed" in november

    filtered = api.get(f"{OCTOBER}/file", {"by": "team", "team": "ads", "format": "pdf"})
    assert "Filters Team: ads" in text_of(filtered)


@pytest.mark.usefixtures("usage")
def test_a_document_with_too_many_lines_is_refused(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.exports.statement_pdf.MAX_LINES", 2)
    refused = api.get(f"{OCTOBER}/file", {"by": "team", "format": "pdf"})
    assert refused.status_code == 422
    assert refused.json()["error"].startswith("format: A PDF file has up to 2 lines.")
    assert text_of(api.get(f"{OCTOBER}/file", {"by": "team", "team": "ads", "format": "pdf"}))


@pytest.mark.usefixtures("usage")
def test_focus_files_have_the_total_of_the_statement_and_say_what_they_lack(api: APIClient) -> None:
    response: Any = api.get(f"{OCTOBER}/focus", {"version": "1.4"})
    assert response.headers["X-Unpriced-Events"] == "1"
    assert 'filename="focus-1.4-acme-2026-10.csv"' in response.headers["Content-Disposition"]
    rows = list(csv.DictReader(StringIO(content(response).decode())))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal("3.000000000000000000000001")
    table = parquet.read_table(BytesIO(content(api.get(f"{OCTOBER}/focus", {"format": "parquet"}))))
    assert sorted(table.column("x_Team").to_pylist()) == ["ads", "search"]
    assert api.get(f"{OCTOBER}/focus", {"version": "1.1"}).status_code == 422


def test_other_organizations_and_wrong_parameters_get_nothing(
    other_api: APIClient, api: APIClient, as_owner: APIClient
) -> None:
    as_owner.post(f"{OCTOBER}/close")
    assert other_api.get("/usage/statements").json()["results"][0]["state"] == "open"
    assert other_api.get(OCTOBER).json()["month"]["state"] == "open"
    assert ClosedMonth.objects.count() == 1
    expected = {
        "/usage/statements/2026-13": 404,
        "/usage/statements/2026-12": 404,
        "/usage/statements/october": 404,
        f"{OCTOBER}?by=workflow": 422,
        f"{OCTOBER}?workflow_id=x": 422,
        f"{OCTOBER}?cursor=x": 422,
        f"{OCTOBER}?cursor=WyI5IiwiIiwiIiwiIl0=": 422,
        f"{OCTOBER}/file?format=xls": 422,
        f"{OCTOBER}/corrections?cursor=1": 422,
    }
    assert {url: api.get(url).status_code for url in expected} == expected
    assert api.post("/usage/statements/2026-11/close").status_code == 403
    assert as_owner.post("/usage/statements/2026-11/close").json()["code"] == "month_not_ended"
