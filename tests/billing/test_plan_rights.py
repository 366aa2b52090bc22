"""A plan's rights belong to the organization: exports, days of history and usage at all are the same by every endpoint
and on every page."""

import io
import zipfile
from base64 import b64decode
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.rollups.fold import fold_organization
from costtrack.clock import utc_now
from organizations.models import Organization, User

OLD, NEW = "old-model", "new-model"
REFUSED = 403
OLDER = {3.21, 4.22, 321.0, 422.0}
"""Costs and tokens of the old call, alone and with the new one."""


@pytest.fixture(autouse=True)
def _usage(organization: Organization, api: APIClient) -> None:
    """A call of 100 days ago, which 90 days of history do not show, and one of today. Together they cost 4.22."""
    now = utc_now()
    for name, at in ((OLD, now - timedelta(days=100)), (NEW, now - timedelta(hours=1))):
        event = {
            "id": name,
            "service": "openai",
            "model": name,
            "cost_usd": "3.21" if name == OLD else "1.01",
            "input_tokens": 321 if name == OLD else 101,
            "run_id": f"run-{name}",
            "session_id": f"session-{name}",
            "execution_id": f"execution-{name}",
            "group_id": f"group-{name}",
            "user_id": f"user-{name}",
            "end_user": f"customer-{name}",
            "tags": [f"tag:{name}"],
            "occurred_at": at.isoformat(),
        }
        assert api.post("/usage/events", event, format="json").status_code == 200
    fold_organization(organization_id=organization.pk, now=now)


def on_plan(organization: Organization, plan: str) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan=plan)


def _all_time() -> str:
    today = utc_now().date()
    return f"start_date={today - timedelta(days=200)}&end_date={today}"


GETS = (
    "/costs/runs",
    "/costs/runs/run-{old}",
    "/costs/runs/run-{old}/entries",
    "/costs/sessions",
    "/costs/sessions/session-{old}",
    "/costs/sessions?execution_id=execution-{old}",
    "/costs/executions",
    "/costs/executions/execution-{old}",
    "/costs/summary",
    "/spend/logs",
    "/spend/logs?{dates}",
    "/spend/logs?{dates}&summarize=false",
    "/spend/logs/v2?{dates}",
    "/spend/tags",
    "/spend/tags?{dates}",
    "/spend/keys",
    "/spend/users",
    "/global/spend/tags?{dates}",
    "/global/spend/report?{dates}",
    "/global/spend/report?{dates}&group_by=customer",
    "/global/spend/report?{dates}&group_by=api_key",
    "/global/activity?{dates}",
    "/usage/events",
    "/usage/events?{dates}",
    "/usage/events?model={old}",
    "/usage/summary?{dates}",
    "/usage/timeseries?{dates}&view=cost",
    "/usage/requests?{dates}",
    "/usage/capabilities?{dates}",
    "/usage/price-check?{dates}",
)
POSTS = ("/system/pricing", "/system/groups")
PAGES = (
    "pricing/?range=custom&{dates}",
    "explore/?range=custom&group_by=tag&{dates}",
    "usage/?range=custom&{dates}",
    "requests/?range=custom&{dates}",
    "price-check/?range=custom&{dates}",
    "runs/",
    "runs/r/run-{old}/",
    "sessions/",
    "sessions/?show=executions",
    "billing/usageevent/",
    "billing/session/",
    "billing/execution/",
    "billing/generationgroup/",
)


def _filled(path: str) -> str:
    return path.format(old=OLD, dates=_all_time())


def _text(response: Any) -> str:
    return b"".join(response.streaming_content).decode() if response.streaming else response.content.decode()


def _shows_old(text: str) -> bool:
    """Whether it has the old call's cost, or names what only the old call has."""
    body = text.rsplit('id="live"', maxsplit=1)[-1].rsplit('id="main"', maxsplit=1)[-1]
    rows = [f"session-{OLD}", f"execution-{OLD}", f"group-{OLD}", f"user-{OLD}", f"customer-{OLD}", f"tag:{OLD}"]
    return any(name in body for name in rows) or any(amount in body for amount in ("$3.21", "$4.22"))


def _amounts(body: Any) -> set[float]:
    """Return all amounts of a response, to find those of `OLDER`."""
    if isinstance(body, dict):
        return set().union(*map(_amounts, body.values())) if body else set()
    if isinstance(body, list):
        return set().union(*map(_amounts, body)) if body else set()
    try:
        return {float(body)} if isinstance(body, float | int | str) else set()
    except ValueError:
        return set()


def test_no_endpoint_shows_more_history_than_the_plan(api: APIClient, organization: Organization) -> None:
    answers = {path: api.get(_filled(path)) for path in GETS}
    on_plan(organization, "enterprise")
    for path, limited in answers.items():
        unlimited = api.get(_filled(path))
        assert unlimited.status_code == 200, path
        assert _amounts(unlimited.json()) & OLDER or OLD in unlimited.content.decode(), f"{path}: the test must see it"
        if limited.status_code == REFUSED:
            assert limited.json().get("code", "plan_history") == "plan_history", path
            continue
        assert limited.status_code == 200, path
        assert not _amounts(limited.json()) & OLDER, path
        assert OLD not in limited.content.decode().replace(f"run-{OLD}", ""), path


@pytest.mark.parametrize("path", POSTS)
def test_no_body_gets_more_history_than_the_plan_shows(path: str, api: APIClient, organization: Organization) -> None:
    limited = api.post(path, {}, format="json")
    on_plan(organization, "enterprise")
    assert OLD in api.post(path, {}, format="json").content.decode()
    assert limited.status_code == 200
    assert OLD not in limited.content.decode()


def test_no_page_shows_more_history_than_the_plan(owner: User, organization: Organization) -> None:
    client = Client()
    client.force_login(owner)
    answers = {page: client.get(f"/o/acme/admin/{_filled(page)}") for page in PAGES}
    on_plan(organization, "enterprise")
    for page, limited in answers.items():
        full = client.get(f"/o/acme/admin/{_filled(page)}")
        assert _shows_old(full.content.decode()), f"{page}: the test must see it"
        assert not _shows_old(limited.content.decode()), page


@pytest.mark.parametrize("kind", ["session", "execution"])
def test_the_page_of_an_old_session_names_the_plan(kind: str, owner: User, organization: Organization) -> None:
    client = Client()
    client.force_login(owner)
    page = client.get(f"/o/acme/admin/{'sessions/s' if kind == 'session' else 'executions'}/{kind}-{OLD}/")
    assert page.status_code == REFUSED
    assert "shows the last 90 days" in page.content.decode()


@pytest.mark.parametrize("plan", ["free", "pay_as_you_go", "pro"])
def test_a_plan_without_exports_has_none_by_any_way(
    plan: str, api: APIClient, owner: User, organization: Organization
) -> None:
    on_plan(organization, plan)
    client = Client()
    client.force_login(owner)
    refused = [
        api.get("/usage/export?rows=requests"),
        api.post("/system/export", {}, format="json"),
        client.get("/o/acme/admin/exports/usage.csv"),
        client.get("/o/acme/admin/usage/export/"),
        client.get("/o/acme/admin/exports/pricing.zip?range=all"),
        client.get("/o/acme/admin/files/price-check/"),
        client.get("/o/acme/admin/files/lists/limits/"),
        client.get("/o/acme/admin/exports/1/"),
        api.post("/organizations/acme/exports", {"table": "requests"}, format="json"),
        api.get("/organizations/acme/exports/1/file"),
    ]
    assert [response.status_code for response in refused] == [REFUSED] * len(refused)
    assert all("Enterprise" in _text(response) or plan == "free" for response in refused)


def test_an_operator_exports_for_every_plan(operator_api: APIClient, organization: Organization) -> None:
    answer = operator_api.post("/system/export?organization=acme", {}, format="json")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(b64decode(answer.json()["content"]))) as archive:
        assert OLD in archive.read("runs.csv").decode()


def test_a_free_organization_sees_no_usage_on_any_page(owner: User, organization: Organization) -> None:
    on_plan(organization, "free")
    client = Client()
    client.force_login(owner)
    for page in (*PAGES, "", "plan/", "getting-started/", "exports/"):
        text = client.get(f"/o/acme/admin/{_filled(page)}", follow=True).content.decode()
        body = text.split('id="live"')[-1].split('id="main"')[-1]
        assert NEW not in body, page
        assert OLD not in body.replace(f"run-{OLD}", ""), page
        assert "$1.01" not in body, page


def test_the_plan_is_read_again_when_the_answer_was_cached(api: APIClient, organization: Organization) -> None:
    on_plan(organization, "enterprise")
    assert OLD in api.get("/usage/events").content.decode()
    on_plan(organization, "pay_as_you_go")
    assert OLD not in api.get("/usage/events").content.decode()
