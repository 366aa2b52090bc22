"""Downloads: the API's own files, under the API's own rules."""

import csv
import html
import io
import tracemalloc
import zipfile
from base64 import b64decode
from codecs import BOM_UTF8
from collections.abc import Callable
from datetime import timedelta
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.exports import pricing_zip as zipping
from billing.exports import usage_files
from costtrack.clock import iso, utc_now
from organizations.models import Organization, Plan, User
from tests.billing.admin.conftest import SignIn
from tests.conftest import make_key
from tests.usage import Send

pytestmark = pytest.mark.usefixtures("whole_history")

PATH = "/o/acme/admin/exports/"
CSV, ZIP = f"{PATH}usage.csv", f"{PATH}pricing.zip"


@pytest.fixture
def enterprise(organization: Organization) -> Organization:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise", time_zone="Europe/Berlin")
    organization.refresh_from_db()
    return organization


def content(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    assert response.streaming
    return b"".join(response.streaming_content)


def runs(zipped: bytes) -> list[dict[str, str]]:
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        assert archive.testzip() is None
        return list(csv.DictReader(io.StringIO(archive.read("runs.csv").decode())))


def text_of(response: Any) -> str:
    return html.unescape(response.content.decode())


def some(send: Send) -> None:
    now = utc_now()
    call = {"service": "openai", "model": "gpt-4o", "capability": "chat", "endpoint": "/v1/chat"}
    times = [iso(now - timedelta(days=day)) for day in range(9)]
    send(
        *({**call, "id": f"{day}", "cost_usd": f"0.{day + 1}", "occurred_at": at} for day, at in enumerate(times)),
        {**call, "id": "failed", "status": "failure", "model": "=cmd()", "session_id": "s", "group_id": "g"},
        {"id": "tool", "kind": "tool_call", "tool": "search", "compute_cost_usd": "0.5", "session_id": "s"},
        now=now,
    )


# --- Usage as a file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "",
        "range=7d",
        "range=today",
        "rows=days",
        "rows=days&range=month",
        "model=gpt-4o&status=success",
        "status=failure",
        "client_id=none",
        "client_id=unknown",
        "endpoint=/v1/chat&capability=chat",
    ],
)
@pytest.mark.parametrize("who", ["owner", "viewer", "operator"])
def test_the_file_is_the_apis_after_the_mark_that_spreadsheets_need(
    sign_in: SignIn,
    api: APIClient,
    enterprise: Organization,
    send: Send,
    who: str,
    query: str,
    request: pytest.FixtureRequest,
) -> None:
    some(send)
    own, theirs = sign_in(request.getfixturevalue(who)).get(f"{CSV}?{query}"), api.get(f"/usage/export?{query}")
    assert own["Content-Disposition"] == theirs["Content-Disposition"]
    assert own["Content-Type"] == theirs["Content-Type"]
    assert content(own) == BOM_UTF8 + content(theirs)


def test_chosen_days_are_whole_days_of_the_organization(
    sign_in: SignIn, owner: User, api: APIClient, enterprise: Organization, send: Send
) -> None:
    some(send)
    today = enterprise.calendar.date_of(utc_now())
    days = f"start_date={today - timedelta(days=3)}&end_date={today - timedelta(days=1)}"
    own = content(sign_in(owner).get(f"{CSV}?range=custom&{days}"))
    assert own == BOM_UTF8 + content(api.get(f"/usage/export?{days}"))
    assert len(own.splitlines()) == 4


def test_days_that_are_hidden_by_a_named_period_are_not_meant(
    sign_in: SignIn, owner: User, enterprise: Organization, send: Send
) -> None:
    some(send)
    browser = sign_in(owner)
    assert content(browser.get(f"{CSV}?range=7d&start_date=2001-01-01&end_date=x")) == content(
        browser.get(f"{CSV}?range=7d")
    )


def test_nothing_of_another_organization_is_in_it(
    sign_in: SignIn, stranger: User, owner: User, other_organization: Organization, enterprise: Organization, send: Send
) -> None:
    send({"id": "theirs", "cost_usd": "1"}, to=other_organization, now=utc_now())
    send({"id": "ours", "cost_usd": "1"}, now=utc_now())
    browser = sign_in(owner)
    assert b"theirs" not in content(browser.get(CSV))
    assert len(runs(content(browser.get(ZIP)))) == 1
    for path in (PATH, CSV, ZIP):
        assert sign_in(stranger).get(path).status_code == 404


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("free", "The Free plan has no API access. Upgrade to Pay as you go to use the API."),
        ("pro", "The Pro plan has no exports. Upgrade to Enterprise to export usage."),
    ],
)
def test_a_plan_without_exports_says_which_has_them(
    sign_in: SignIn, owner: User, operator: User, organization: Organization, plan: str, message: str
) -> None:
    Plan.objects.exclude(code="enterprise").update(exports=False)
    Organization.objects.filter(pk=organization.pk).update(plan=plan)
    browser = sign_in(owner)
    shown = browser.get(PATH)
    assert message in text_of(shown)
    assert f'action="{CSV}"' not in text_of(shown)
    refused = browser.get(CSV)
    assert (refused.status_code, refused.streaming) == (403, False)
    assert message in text_of(refused)
    assert content(sign_in(operator).get(CSV)).startswith(BOM_UTF8 + b"time,")


def test_the_plan_bounds_how_far_back_the_file_goes(
    sign_in: SignIn, owner: User, operator: User, enterprise: Organization, send: Send
) -> None:
    Plan.objects.filter(pk="enterprise").update(history_days=2)
    some(send)
    browser = sign_in(owner)
    assert "Your plan shows the last 2 days" in text_of(browser.get(PATH))
    assert len(content(browser.get(CSV)).splitlines()) == 1 + 3 + 2  # a failed call, and a tool call
    old = browser.get(f"{CSV}?range=custom&start_date=2020-01-01&end_date=2020-01-02")
    assert old.status_code == 403
    assert "shows the last 2 days of usage" in text_of(old)
    assert len(content(sign_in(operator).get(CSV)).splitlines()) == 1 + 9 + 2


# --- Runs as ZIP -------------------------------------------------------------------------------------------------


def test_the_zip_has_the_apis_rows(
    sign_in: SignIn, viewer: User, api: APIClient, organization: Organization, send: Send
) -> None:
    some(send)
    response = sign_in(viewer).get(f"{ZIP}?range=all")
    zipped = content(response)
    theirs = api.post("/system/export", {}).json()
    assert runs(zipped) == runs(b64decode(theirs["content"]))
    assert len(runs(zipped)) == theirs["row_count"] == 11
    assert response["Content-Type"] == "application/zip"
    assert int(response["Content-Length"]) == len(zipped)
    assert response["Content-Disposition"].startswith('attachment; filename="pricing_export_')


@pytest.mark.parametrize(
    ("query", "rows"),
    [("range=today", 3), ("model=gpt-4o", 9), ("model=unknown", 0), ("session_id=s", 2), ("group_id=g", 1), ("", 11)],
)
def test_the_zip_has_what_is_requested(sign_in: SignIn, owner: User, send: Send, query: str, rows: int) -> None:
    some(send)
    assert len(runs(content(sign_in(owner).get(f"{ZIP}?{query}")))) == rows


def test_the_zip_needs_a_plan_with_exports(
    sign_in: SignIn, owner: User, operator: User, organization: Organization
) -> None:
    Plan.objects.exclude(code="enterprise").update(exports=False)
    for plan in ("free", "pro"):
        Organization.objects.filter(pk=organization.pk).update(plan=plan)
        assert sign_in(owner).get(ZIP).status_code == 403
        assert sign_in(operator).get(ZIP).status_code == 200
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    assert sign_in(owner).get(ZIP).status_code == 200


def test_an_unfetched_zip_leaves_nothing_behind(
    sign_in: SignIn, owner: User, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    some(send)
    files: list[Any] = []

    def _remembering(*args: Any, **options: Any) -> Any:
        files.append(SpooledTemporaryFile(*args, **options))  # noqa: SIM115 - the export closes it
        return files[-1]

    monkeypatch.setattr(zipping, "SpooledTemporaryFile", _remembering)
    unread, read = (sign_in(owner).get(ZIP) for _ in range(2))
    content(read)
    for close in unread._resource_closers:  # type: ignore[attr-defined] # what a server does in the end
        close()
    del unread
    assert [file.closed for file in files] == [True, True]


# --- Both --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CSV, ZIP])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("range=decade", "range"),
        ("range=custom", "start_date"),
        ("range=custom&start_date=2026-02-31", "start_date"),
        ("range=custom&start_date=1800-01-01", "start_date"),
        ("range=custom&start_date=2026-02-02&end_date=2026-01-01", "end_date"),
        ("model=%00", "model"),
        (f"model={'m' * 256}", "model"),
        ("download=1%0d%0aSet-Cookie:x", "download"),
    ],
)
def test_what_cannot_be_is_said_beside_the_field(
    sign_in: SignIn, owner: User, enterprise: Organization, path: str, query: str, field: str
) -> None:
    response = sign_in(owner).get(f"{path}?{query}")
    assert (response.status_code, response.streaming) == (422, False)
    assert not any(name.startswith("download") for name in response.cookies)
    form = response.context["usage" if path == CSV else "pricing"]
    assert list(form.errors) == [field]
    assert "No file was created." in text_of(response)


@pytest.mark.parametrize("query", ["rows=days&endpoint=/v1", "rows=weeks", "status=perhaps"])
def test_the_csv_has_choices_of_its_own(sign_in: SignIn, owner: User, enterprise: Organization, query: str) -> None:
    assert sign_in(owner).get(f"{CSV}?{query}").status_code == 422


def test_too_many_days_are_refused(sign_in: SignIn, owner: User, enterprise: Organization) -> None:
    response = sign_in(owner).get(f"{CSV}?rows=days&range=custom&start_date=2000-01-01")
    assert response.status_code == 422
    assert "more than 1000 days" in text_of(response)


@pytest.mark.parametrize("query", ["range=%00", "start_date=x&model=%3Cscript%3E", "range=custom", "rows=9&status=9"])
def test_the_page_takes_any_address(sign_in: SignIn, owner: User, enterprise: Organization, query: str) -> None:
    response = sign_in(owner).get(f"{PATH}?{query}")
    assert response.status_code == 200
    assert b"<script>" not in response.content


def test_another_page_may_lead_here_with_its_filters(sign_in: SignIn, owner: User, enterprise: Organization) -> None:
    response = sign_in(owner).get(f"{PATH}?start_date=2026-01-01&model=gpt-4o")
    assert response.context["usage"]["range"].value() == "custom"
    assert response.context["pricing"]["model"].value() == "gpt-4o"


@pytest.mark.parametrize("path", [CSV, ZIP])
def test_a_download_shows_the_page_that_it_has_begun(
    sign_in: SignIn, owner: User, enterprise: Organization, path: str
) -> None:
    browser = sign_in(owner)
    assert browser.get(f"{path}?download=17").cookies["download_17"].value == "begun"
    assert not any(name.startswith("download") for name in browser.get(path).cookies)


def test_credentials_to_choose_from_are_the_organizations(
    sign_in: SignIn, operator: User, other_organization: Organization, enterprise: Organization
) -> None:
    own, theirs = make_key(enterprise, name="ours"), make_key(other_organization, name="theirs")
    text = text_of(sign_in(operator).get(PATH))
    assert own.credential.client_id in text
    assert theirs.credential.client_id not in text


def test_memory_does_not_grow_with_the_rows(
    sign_in: SignIn, owner: User, enterprise: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_files, "_PAGE", 100)
    monkeypatch.setattr(zipping, "_PAGE", 100)
    now = utc_now()
    browser = sign_in(owner)

    def peak(read: Callable[[], int]) -> int:
        read()  # what is made once
        tracemalloc.start()
        read()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    def drained(path: str) -> int:
        response: Any = browser.get(path)
        return sum(len(part) for part in response.streaming_content)

    before = 0
    peaks: dict[str, list[int]] = {CSV: [], f"{ZIP}?range=all": []}
    for total in (300, 1_500):
        send(*({"id": f"{n}", "model": "m", "cost_usd": "1"} for n in range(before, total)), now=now)
        before = total
        for path, seen in peaks.items():
            seen.append(peak(lambda path=path: drained(path)))  # type: ignore[misc]
    for small, large in peaks.values():
        assert large < 1.5 * small + 200_000


def test_the_queries_do_not_grow_with_credentials(sign_in: SignIn, owner: User, enterprise: Organization) -> None:
    browser: Client = sign_in(owner)
    counts = []
    for _ in range(2):
        make_key(enterprise)
        browser.get(PATH)
        with CaptureQueriesContext(connection) as captured:
            browser.get(PATH)
        counts.append(len(captured))
        for _ in range(10):
            make_key(enterprise)
    assert counts[0] == counts[1]
