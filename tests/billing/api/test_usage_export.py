"""`GET /usage/export`: CSV, for plans that have exports."""

import csv
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.test import Client
from rest_framework.test import APIClient

from billing.exports import usage_files
from costtrack.clock import iso
from organizations.models import Organization, Plan, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW, Send

PATH = "/usage/export"


@pytest.fixture(autouse=True)
def _monday_noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def enterprise(organization: Organization) -> Organization:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    return organization


def content(response: Any) -> str:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content).decode()


def rows(api: APIClient | Client, query: str = "") -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(content(api.get(f"{PATH}?{query}")))))


def call(number: int, **fields: Any) -> dict[str, Any]:
    occurred_at = iso(NOW - timedelta(hours=number))
    return {"id": f"{number}", "occurred_at": occurred_at, "cost_usd": f"0.{number + 1}", **fields}


@pytest.mark.usefixtures("enterprise")
def test_requests_are_a_file_in_plain_values(api: APIClient, send: Send) -> None:
    send(call(1, model="gpt-4o", endpoint="/v1/chat", status_code=200, input_tokens=5), {"model": "unpriced"})
    response = api.get(PATH)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="usage-requests-acme-2026-10-04-2026-11-02.csv"'
    text = content(response)
    header, unpriced, priced = text.splitlines()
    assert header == (
        "time,id,event_id,request_id,endpoint,capability,service,model,client_id,status,status_code,"
        "prompt_tokens,completion_tokens,cached_tokens,total_tokens,cost_usd,voided,kind,"
        "sent_model,provider,user_id,team,end_user,agent_id,environment,"
        "run_id,workflow_id,session_id,execution_id,cost_group,tool,tags,credential_name"
    )
    assert priced.startswith("2026-11-02T11:00:00Z,")
    assert priced.endswith(",1,,/v1/chat,,,gpt-4o,,success,200,5,0,0,5,0.2,false,model_call,gpt-4o,openai,,,,,,,,,,,,,")
    assert unpriced.endswith(",,,,,,unpriced,,success,,0,0,0,0,,false,model_call,unpriced,,,,,,,,,,,,,,")


@pytest.mark.usefixtures("enterprise")
def test_all_requests_are_in_it_and_none_that_came_in_since(
    api: APIClient, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_files, "_PAGE", 3)
    send(*(call(number) for number in range(10)))
    response = api.get(PATH)
    chunks = response.streaming_content  # type: ignore[attr-defined]
    text = next(chunks) + next(chunks)
    send(call(11), now=NOW + timedelta(seconds=1))
    text += b"".join(chunks)
    assert [row["event_id"] for row in csv.DictReader(StringIO(text.decode()))] == [f"{n}" for n in range(10)]
    assert len(rows(api, "status=failure")) == 0


@pytest.mark.usefixtures("enterprise")
def test_days_are_a_file_too(api: APIClient, send: Send, enterprise: Organization) -> None:
    Organization.objects.filter(pk=enterprise.pk).update(time_zone="Asia/Kolkata")
    send(call(1, model="m", output_tokens=7), call(18, status="failure"), {"model": "unpriced"})
    result = rows(api, "rows=days&range=7d")
    assert [row["date"] for row in result] == [
        f"2026-{day}" for day in ("10-27", "10-28", "10-29", "10-30", "10-31", "11-01", "11-02")
    ]
    assert result[-1] == {
        "date": "2026-11-02",
        "requests": "2",
        "errors": "0",
        "prompt_tokens": "0",
        "completion_tokens": "7",
        "cached_tokens": "0",
        "total_tokens": "7",
        "cost_usd": "0.2",
        "unpriced_events": "1",
    }
    assert (result[-2]["errors"], result[-2]["cost_usd"]) == ("1", "0.19")
    assert {row["requests"] for row in rows(api, "rows=days&model=m")} == {"0", "1"}


@pytest.mark.usefixtures("enterprise")
def test_an_empty_export_has_its_header(api: APIClient) -> None:
    assert rows(api) == []
    assert content(api.get(f"{PATH}?rows=requests")).startswith("time,id,")


@pytest.mark.usefixtures("enterprise")
@pytest.mark.usefixtures("whole_history")
def test_no_cell_is_a_formula(api: APIClient, send: Send) -> None:
    formula = '=HYPERLINK("http://x","y")'
    send(call(1, model=formula, endpoint="+1", capability="@a", service="-1", request_id="\tx"))
    (row,) = rows(api)
    cells = [row[name] for name in ("model", "endpoint", "capability", "service", "request_id")]
    assert cells == [f"'{formula.lower()}", "'+1", "'@a", "'-1", "'\tx"]


@pytest.mark.parametrize("accept", ["text/csv", "*/*", "application/json", "text/html,*/*;q=0.8"])
@pytest.mark.usefixtures("enterprise")
def test_it_is_csv_and_errors_are_json_with_any_accept_header(api: APIClient, accept: str) -> None:
    assert api.get(PATH, HTTP_ACCEPT=accept)["Content-Type"].startswith("text/csv")
    wrong = api.get(f"{PATH}?rows=all", HTTP_ACCEPT=accept)
    assert (wrong.status_code, wrong["Content-Type"], list(wrong.json()["fields"])) == (
        422,
        "application/json",
        ["rows"],
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("rows=weeks", "rows"),
        ("rows=days&endpoint=/v1/chat", "endpoint"),
        ("rows=days&start_date=2020-01-01", "start_date"),
        ("endpoint=a%00b", "endpoint"),
        ("start_date=2026-11-02&end_date=2026-11-01", "end_date"),
    ],
)
@pytest.mark.usefixtures("enterprise")
def test_wrong_queries_are_refused_by_name(api: APIClient, query: str, field: str) -> None:
    response = api.get(f"{PATH}?{query}")
    assert response.status_code == 422, response.content
    assert list(response.json()["fields"]) == [field]


def test_a_plan_without_exports_says_what_would_allow_them(
    api: APIClient, operator_api: APIClient, organization: Organization
) -> None:
    response = api.get(PATH)
    assert response.status_code == 403
    assert response.json() == {
        "error": "The Pay as you go plan has no exports. Upgrade to Enterprise to export usage.",
        "code": "plan_without_exports",
        "plan": "pay_as_you_go",
        "upgrade_to": "enterprise",
    }
    Plan.objects.filter(code="pro").update(exports=True)
    assert api.get(PATH).json()["upgrade_to"] == "pro"
    assert operator_api.get(f"{PATH}?organization=acme").status_code == 200
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    assert api.get(PATH).json()["code"] == "plan_without_api"


def test_who_may_export(
    enterprise: Organization, owner: User, viewer: User, stranger: User, send: Send, other_organization: Organization
) -> None:
    send(call(1))
    send(call(2), to=other_organization)
    assert APIClient().get(PATH).status_code == 401
    assert make_key(enterprise, Scope.USAGE_WRITE).client().get(PATH).json()["code"] == "missing_scope"
    for user in (owner, viewer):
        client = Client()
        client.force_login(user)
        assert [row["event_id"] for row in rows(client)] == ["1"]
        assert len(rows(client, "rows=days")) == 30
    foreign = Client()
    foreign.force_login(stranger)
    assert foreign.get(f"{PATH}?organization=acme").status_code == 404


@pytest.mark.usefixtures("enterprise")
def test_rows_add_up_to_the_summary_and_name_their_kind(api: APIClient, send: Send) -> None:
    send(
        call(1, cost_usd="11"),
        {"kind": "tool_call", "tool": "search", "cost_usd": "0.5", "session_id": "s"},
        {"kind": "compute", "compute_cost_usd": "0.25"},
        {"kind": "session_summary", "session_id": "s", "turns": 1},
    )
    result = rows(api)
    assert [row["kind"] for row in result] == ["session_summary", "compute", "tool_call", "model_call"]
    with time_machine.travel(NOW, tick=False):
        summary = api.get("/usage/summary").json()
    assert sum(Decimal(row["cost_usd"] or 0) for row in result) == Decimal(summary["cost_usd"]) == Decimal("11.75")


@pytest.mark.usefixtures("enterprise")
def test_excel_reads_utf_8_if_the_file_begins_with_its_mark(api: APIClient, send: Send) -> None:
    send(call(1, model="\u00fcber"))
    for rows_ in ("requests", "days"):
        marked = b"".join(api.get(f"{PATH}?bom=true&rows={rows_}").streaming_content)  # type: ignore[attr-defined]
        plain = b"".join(api.get(f"{PATH}?rows={rows_}").streaming_content)  # type: ignore[attr-defined]
        assert (marked[:3], marked[3:]) == (b"\xef\xbb\xbf", plain)
