"""Document 000: `POST /system/export`. (What is in the rows: tests/billing/exports/test_pricing_zip.py.)"""

import base64
import csv
import io
import re
import zipfile
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.reports.pricing.run_filter import ModelKey
from billing.reports.pricing.uuids import agent_uuid, group_uuid, model_uuid, user_uuid
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import Send

pytestmark = pytest.mark.usefixtures("whole_history")

PATH = "/system/export"
GPT = ModelKey("openai", "gpt-4o")
OPUS = ModelKey("anthropic", "claude-3-opus")
GROUP = "0D4F6A4E-58F7-4C0E-9A55-3B1F0C7F2A62"  # as sent


def call(cost: str, day: str = "2025-01-15", model: ModelKey = GPT, **fields: Any) -> dict[str, Any]:
    at = day if "T" in day else f"{day}T12:00:00Z"
    return {"service": model.service, "model": model.model, "cost_usd": cost, "occurred_at": at, **fields}


def rows_of(answer: Any) -> list[dict[str, str]]:
    """The CSV's rows; the ZIP must hold one file and be whole."""
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(answer["content"], validate=True))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["runs.csv"]
        rows = list(csv.DictReader(io.StringIO(archive.read("runs.csv").decode())))
    assert len(rows) == answer["row_count"]
    return rows


def export(api: APIClient, **body: Any) -> list[dict[str, str]]:
    response = api.post(PATH, body)
    assert response.status_code == 200, response.content
    return rows_of(response.json())


@pytest.mark.parametrize("body", ["", "{}"])
def test_it_answers_like_the_document(api: APIClient, send: Send, body: str) -> None:
    send(call("0.0123", input_tokens=10, cache_read_tokens=5, output_tokens=2, group_id="g", group_name="Office hours"))

    response = api.generic("POST", PATH, body, content_type="application/json")

    answer = response.json()
    assert set(answer) == {"content", "file_name", "mime_type", "row_count"}
    assert re.fullmatch(r"pricing_export_\d{4}-\d\d-\d\d_\d{6}\.zip", answer["file_name"])
    assert answer["mime_type"] == "application/zip"
    (row,) = rows_of(answer)
    assert list(row)[:10] == [
        *("run_id", "group", "run_date", "input_tokens", "output_tokens", "cached_input_tokens", "total_tokens"),
        *("cost", "agents", "models"),
    ]
    assert (row["group"], row["run_date"], row["cost"]) == ("Office hours", "2025-01-15T12:00:00Z", "0.0123")
    assert (row["input_tokens"], row["output_tokens"], row["cached_input_tokens"]) == ("15", "2", "5")
    assert (row["total_tokens"], row["models"]) == ("17", "gpt-4o")
    assert response["X-Costtrack-Truncated"] == "0"


def test_without_runs_it_is_a_zip_with_the_header_alone(api: APIClient) -> None:
    answer = api.post(PATH, {}).json()

    assert rows_of(answer) == []
    assert answer["row_count"] == 0
    assert answer["file_name"].endswith(".zip")


@pytest.mark.parametrize(
    ("body", "costs"),
    [
        ({"start_date": "2025-01-15", "end_date": "2025-01-15"}, {"1", "2", "4", "16"}),
        ({"start_date": "2025-01-16"}, {"8", "32"}),
        ({"date_to": "2025-01-15T11:59:59Z"}, set()),
        ({"model_ids": [str(model_uuid(OPUS))]}, {"2"}),
        ({"model_ids": [str(model_uuid(OPUS)), str(model_uuid(GPT))], "agent_id": str(agent_uuid("one"))}, {"1", "2"}),
        ({"model_id": str(model_uuid(ModelKey("x", "y")))}, set()),
        ({"profile_ids": [str(user_uuid("ada"))]}, {"1"}),
        ({"group_id": "g"}, {"4"}),
        ({"group_id": str(group_uuid("g"))}, {"4"}),
        ({"group_id": GROUP.lower()}, {"32"}),
        ({"group_id": str(group_uuid("unknown"))}, set()),
        ({"session_id": "s"}, {"8"}),
        ({"view": "pricing", "mode": "full", "idempotency_key": "k"}, {"1", "2", "4", "8", "16", "32"}),
    ],
)
def test_filters_pick_runs_as_everywhere(api: APIClient, send: Send, body: dict[str, Any], costs: set[str]) -> None:
    send(
        call("1", agent_id="one", user_id="ada"),
        call("2", model=OPUS, agent_id="one"),
        call("4", group_id="g"),
        call("8", "2025-01-16", session_id="s"),
        call("32", "2025-01-17", group_id=GROUP),
        {"kind": "tool_call", "tool": "search", "cost_usd": "16", "occurred_at": "2025-01-15T12:00:00Z"},
    )

    assert {row["cost"] for row in export(api, **body)} == costs
    if not body.keys() & {"profile_ids", "group_id", "session_id", "view"}:
        chart = api.post("/system/pricing", body).json()
        assert sum(Decimal(item["total_cost"]) for item in chart["daily"]) == sum(map(Decimal, costs))


@pytest.mark.parametrize("body", [{"view": "health"}, {"search": "x"}, {"start_date": "soon"}, {"group_id": "a\0"}])
def test_a_wrong_field_is_named(api: APIClient, body: dict[str, Any]) -> None:
    response = api.post(PATH, body)

    assert response.status_code == 422, response.content
    assert response.json()["detail"][0]["loc"] == ["body", *body]


def test_organizations_do_not_meet(api: APIClient, other_organization: Organization, send: Send) -> None:
    send(call("1", id="same"))
    send(call("2", id="same", agent_name="Theirs"), call("4"), to=other_organization)

    assert [row["cost"] for row in export(api)] == ["1"]


def test_every_role_may_export_on_a_plan_with_exports(
    organization: Organization, owner: User, viewer: User, send: Send
) -> None:
    send(call("1"))

    for user in (owner, viewer):
        client = Client()
        client.force_login(user)
        assert client.post(PATH, {}, content_type="application/json").json()["row_count"] == 1
    assert make_key(organization, Scope.COSTS_READ).client().post(PATH, {}).status_code == 200


def test_who_may_not(organization: Organization, stranger: User, send: Send) -> None:
    send(call("1"))
    assert APIClient().post(PATH, {}).status_code == 401
    assert make_key(organization, Scope.USAGE_WRITE).client().post(PATH, {}).status_code == 403
    client = Client()
    client.force_login(stranger)
    assert client.post(PATH, {}, content_type="application/json").json()["row_count"] == 0
    organization.plan_id = "free"
    organization.save(update_fields=["plan"])
    assert make_key(organization, Scope.COSTS_READ).client().post(PATH, {}).status_code == 403
