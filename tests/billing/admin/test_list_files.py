"""Every list of the admin is a file: all its rows, with its filters and in its order."""

import csv
import io
import json
from typing import Any

import pyarrow.parquet
import pytest
from django.contrib import admin
from django.test import Client

from billing.exports import list_files
from billing.exports.list_files import list_names
from billing.models import GenerationGroup, Run, Session
from billing.rollups.fold import fold
from organizations.admin_base import OrganizationScopedAdmin
from organizations.models import AuditEntry, Organization, User
from tests.billing.admin.conftest import SignIn
from tests.conftest import make_key
from tests.limits import set_limit
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")


@pytest.fixture
def browser(owner: User, sign_in: SignIn) -> Client:
    return sign_in(owner)


@pytest.fixture
def usage(send: Send, organization: Organization) -> None:
    organization.time_zone = "Pacific/Auckland"
    organization.save()
    send(
        *(
            {
                "id": f"{number}",
                "model": "no-price",
                "input_tokens": 5,
                "run_id": f"run-{number}",
                "workflow_id": "=1+1",
                "session_id": f"session-{number % 3}",
                "execution_id": "execution",
                "group_id": f"group-{number % 2}",
                "occurred_at": f"2026-11-02T0{number}:00:00Z",
            }
            for number in range(5)
        )
    )
    fold(now=NOW)


def file(browser: Client, name: str, query: str = "") -> bytes:
    response: Any = browser.get(f"/o/acme/admin/files/lists/{name}/?{query}")
    assert response.status_code == 200, (name, response.content)
    assert "no-store" in response["Cache-Control"]
    return b"".join(response.streaming_content)


def rows(browser: Client, name: str, query: str = "") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file(browser, name, query).decode("utf-8-sig"))))


@pytest.mark.usefixtures("usage")
def test_each_list_has_a_file_with_its_rows(browser: Client, organization: Organization) -> None:
    set_limit(organization, "5")
    problems = []
    admins = [found for found in admin.site._registry.values() if isinstance(found, OrganizationScopedAdmin)]
    for model_admin in [found for found in admins if found.file_name]:
        name = model_admin.file_name
        written = rows(browser, name)
        stored = model_admin.model._default_manager.filter(organization=organization).count()
        if len(written) != stored:
            problems.append(f"{name}: {len(written)} rows of {stored}")
        if written and any(word in column for column in written[0] for word in ("secret", "hash", "pepper")):
            problems.append(f"{name}: {sorted(written[0])}")
    assert not problems
    assert {"audit-log", "members", "limits", "alerts", "limit-requests", "credentials", "prices"} <= set(list_names())


@pytest.mark.usefixtures("usage")
def test_parts_leave_out_and_repeat_no_row(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_key(Organization.objects.get(slug="acme"))
    lists = ("all-runs", "all-sessions", "groups", "all-events", "unpriced", "audit-log")
    queries = [*((name, "") for name in lists), ("all-sessions", "q=session-1"), ("credentials", "o=-4.2")]
    whole = [rows(browser, name, query) for name, query in queries]
    monkeypatch.setattr(list_files, "_PAGE", 1)
    assert [rows(browser, name, query) for name, query in queries] == whole
    assert [len(part) for part in whole[:3]] == [
        Run.objects.count(),
        Session.objects.count(),
        GenerationGroup.objects.count(),
    ]
    assert [row["session_id"] for row in whole[1]] == ["session-1", "session-0", "session-2"] or len(whole[1]) == 3


@pytest.mark.usefixtures("usage")
def test_a_file_has_the_filters_and_the_order_of_the_page(browser: Client) -> None:
    page: Any = browser.get("/o/acme/admin/organizations/auditentry/?o=3.-2&q=acme")
    (_, url), *_ = page.context["cl"].files.links
    response: Any = browser.get(url)
    written = csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig")))
    assert [row["id"] for row in written] == [str(entry.pk) for entry in page.context["cl"].result_list]
    unpriced = rows(browser, "unpriced", "model=other")
    assert unpriced == []


@pytest.mark.usefixtures("usage")
def test_cells_are_safe_and_times_are_local_in_each_format(browser: Client) -> None:
    content = file(browser, "all-runs")
    assert content.startswith(b"\xef\xbb\xbf")
    first = rows(browser, "all-runs")[0]
    assert first["workflow_id"] == "'=1+1"
    assert first["created_at"].endswith("+13:00")
    (in_json, *_) = json.loads(file(browser, "all-runs", "format=json"))
    assert (in_json["workflow_id"], in_json["created_at"]) == ("=1+1", first["created_at"])
    table = pyarrow.parquet.read_table(io.BytesIO(file(browser, "all-runs", "format=parquet")))
    assert table.num_rows == 5
    assert str(table.schema.field("created_at").type) == "timestamp[us, tz=Pacific/Auckland]"
    assert table.column("workflow_id")[0].as_py() == "=1+1"


def test_limits_have_what_is_spent(browser: Client, organization: Organization, send: Send) -> None:
    set_limit(organization, "5")
    send({"id": "1", "cost_usd": "1.25"})
    (limit,) = rows(browser, "limits")
    assert (limit["amount_usd"], limit["spent_usd"], limit["percent"]) == ("5", "1.25", "25")


def test_a_file_shows_what_its_list_shows(
    viewer: User, stranger: User, owner: User, sign_in: SignIn, organization: Organization
) -> None:
    AuditEntry.objects.create(organization=organization, actor="a", action="b", subject="c")
    for user, name, status in (
        (owner, "audit-log", 200),
        (viewer, "limits", 200),
        (viewer, "audit-log", 403),
        (viewer, "members", 403),
        (stranger, "limits", 404),
        (owner, "users", 404),
        (owner, "nothing", 404),
    ):
        response = sign_in(user).get(f"/o/acme/admin/files/lists/{name}/")
        assert response.status_code == status, (user, name)
    invalid = sign_in(owner).get("/o/acme/admin/files/lists/limits/?secret=1")
    assert invalid.status_code in (400, 422)


def test_an_empty_list_offers_no_file(browser: Client) -> None:
    assert b"Download all rows" not in browser.get("/o/acme/admin/billing/credit/").content
    assert b"Download all rows" in browser.get("/o/acme/admin/organizations/membership/").content
