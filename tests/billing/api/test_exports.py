"""`/organizations/{slug}/exports`: files that are created in the background, by API."""

import csv
import io
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.exports.export_jobs import run_export
from billing.models import Delivery, Export
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import Send

pytestmark = pytest.mark.usefixtures("whole_history")

PATH = "/organizations/acme/exports"


def post(api: APIClient, body: dict[str, Any], **headers: str) -> Any:
    return api.post(PATH, body, format="json", headers=headers)


def run_all() -> None:
    for export in Export.objects.unfinished().select_related("organization__plan"):
        run_export(export=export)


def test_a_file_is_created_once_for_an_idempotency_key_and_downloaded(api: APIClient, send: Send) -> None:
    send({"id": "1", "model": "gpt-4o", "cost_usd": "1.5"}, {"id": "2", "model": "o3", "cost_usd": "2"})
    body = {"table": "requests", "parameters": {"start_date": "2020-01-01", "model": "gpt-4o"}}
    first, again = (post(api, body, **{"Idempotency-Key": "one"}) for _ in range(2))
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    (listed,) = api.get(PATH).json()["results"]
    assert (listed["state"], listed["rows"], listed["total_rows"]) == ("queued", 0, None)
    early = api.get(f"{PATH}/{listed['id']}/file")
    assert (early.status_code, early.json()["code"]) == (409, "export_not_ready")
    run_all()
    ready = api.get(f"{PATH}/{listed['id']}").json()
    assert (ready["state"], ready["rows"], ready["total_rows"], ready["error"]) == ("ready", 1, 1, "")
    file: Any = api.get(f"{PATH}/{listed['id']}/file", headers={"Accept": "text/csv"})
    (row,) = csv.DictReader(io.StringIO(b"".join(file.streaming_content).decode()))
    assert (row["event_id"], row["cost_usd"]) == ("1", "1.5")
    assert not Delivery.objects.exists()
    parquet: Any = api.get(f"{PATH}/{listed['id']}/file?format=parquet")
    assert b"".join(parquet.streaming_content).startswith(b"PAR1")
    assert api.delete(f"{PATH}/{listed['id']}").status_code == 204
    assert api.get(f"{PATH}/{listed['id']}").status_code == 404


def test_every_table_can_be_requested(api: APIClient, send: Send) -> None:
    send({"id": "1", "model": "gpt-4o", "cost_usd": "1.5", "run_id": "r", "session_id": "s", "execution_id": "e"})
    requested = [
        ("days", {"start_date": "2026-01-01", "end_date": "2026-12-31", "group_by": "model"}),
        ("breakdown", {"start_date": "2020-01-01", "group_by": "user,model", "granularity": "month"}),
        ("runs", {"workflow_id": "flow"}),
        ("sessions", {"start_date": "2020-01-01", "finished": "false"}),
        ("executions", {}),
        *((name, {}) for name in ("limits", "audit-log", "all-events")),
    ]
    statuses = {table: post(api, {"table": table, "parameters": given}).status_code for table, given in requested}
    assert set(statuses.values()) == {202}, statuses
    run_all()
    assert set(Export.objects.values_list("state", flat=True)) == {"ready"}


def test_invalid_requests_name_the_field(api: APIClient) -> None:
    for body, field in (
        ({}, "table"),
        ({"table": "secrets"}, "table"),
        ({"table": "limits", "format": "xls"}, "format"),
        ({"table": "breakdown"}, "group_by"),
        ({"table": "requests", "parameters": {"modell": "x"}}, "modell"),
        ({"table": "sessions", "parameters": {"start_date": "soon"}}, "start_date"),
        ({"table": "limits", "parameters": {"secret_hash": "x"}}, "parameters"),
        ({"table": "limits", "parameters": {"scope": "\0"}}, "parameters"),
    ):
        response = post(api, body)
        assert response.status_code in (400, 422), body
        assert field in response.content.decode(), response.content
    assert api.get(f"{PATH}/9/file").status_code == 404


def test_scopes_and_organizations_are_separate(
    api: APIClient, other_api: APIClient, organization: Organization, viewer: User
) -> None:
    export_id = post(api, {"table": "audit-log"}).json()["id"]
    reads = make_key(organization, Scope.COSTS_READ).client()
    refused = post(reads, {"table": "audit-log"})
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    assert reads.get(f"{PATH}/{export_id}").status_code == 404
    assert reads.get(f"{PATH}/{export_id}/file").status_code == 404
    assert reads.delete(f"{PATH}/{export_id}").status_code == 404
    assert post(reads, {"table": "limits"}).status_code == 202
    assert other_api.get(PATH).status_code == 404
    assert other_api.get(f"/organizations/globex/exports/{export_id}").status_code == 404
