"""The plan, the exports with each of their choices, and the first steps, beside what the API answers."""

import csv
import io
import zipfile
from base64 import b64decode
from codecs import BOM_UTF8
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.types import LimitWindow
from organizations.models import Organization, User
from tests.browser.history import ODD
from tests.browser.plain_pages import PlainPage
from tests.browser.walks import (
    all_pages,
    answer,
    count,
    dollars,
    figures,
    follow,
    posted,
    rows,
    start,
    table,
)
from tests.conftest import Key
from tests.limits import set_limit

pytestmark = pytest.mark.usefixtures("history")

UsageQuery = dict[str, str]

USAGE, RUNS = "form[aria-label='Usage as a file']", "form[aria-label='Runs as ZIP']"


def test_the_plan_and_the_first_steps_say_what_the_api_says(
    operator: User, api: APIClient, organization: Organization
) -> None:
    set_limit(organization, "100", window=LimitWindow.ROLLING_7D, is_plan=True)
    page = PlainPage(operator)
    start(page)
    follow(page, "Plan")
    now, before = (answer(api, "/usage/summary", range=name) for name in ("month", "last_month"))
    shown = figures(page)
    assert shown["Your plan"] == "Pay as you go"
    assert now["plan"] == "pay_as_you_go"
    assert shown["Spent this month"] == dollars(now["spend"]["month_to_date_usd"])
    assert shown["Spent last month"] == dollars(before["cost_usd"])
    (limit,) = answer(api, "/usage/limits")["limits"]
    gauge = f"{dollars(limit['spent_usd'])} spent of {dollars(limit['amount_usd'])}"
    assert page.document.first("[role=meter]")["aria-valuetext"].startswith(gauge)
    assert f"{dollars(limit['remaining_usd'])} left" in page.text
    heads = table(page, "All plans compared").all("thead th")
    assert [head.lines[0] if head.lines else "" for head in heads] == ["", "Free", "Pay as you go", "Pro", "Enterprise"]

    follow(page, "Getting started")
    reported = answer(api, "/organizations/acme/credentials", revoked="false")["results"]
    assert [cells[:2] for cells in rows(page, "Credentials")] == [
        [item["name"], item["client_id"]] for item in reported
    ]
    for item, cells in zip(reported, rows(page, "Credentials"), strict=True):
        assert cells[2] == ", ".join(item["scopes"])
    assert_first_event(page, all_pages(api, "/usage/events"))


def assert_first_event(page: PlainPage, events: list[dict[str, Any]]) -> None:
    """The page links to the one that it tells of."""
    (heading,) = (item for item in page.document.all("h2") if item.text == "Step 3: First event received")
    step = heading.closest("section")
    (address,) = (link["href"] for link in step.all("a[href]") if link.text == "View cost details")
    (event,) = [item for item in events if item["id"] in address]
    sent = event["input_tokens"] + event["cache_read_tokens"] + event["cache_creation_tokens"]
    assert (event["model"] or event["tool"]) in step.text
    assert f"{count(sent)} in, {count(event['output_tokens'])} out" in step.text
    assert ("Not known yet" if event["cost_usd"] is None else dollars(event["cost_usd"])) in step.text


# --- Exports ---------------------------------------------------------------------------------------------------


def test_files_are_those_of_the_api_for_any_choice(
    owner: User, api: APIClient, gateway: Key, organization: Organization
) -> None:
    page = PlainPage(owner)
    start(page)
    follow(page, "Exports")  # the plan has none
    assert not {"Download file", "Download ZIP"} & set(page.names("button"))
    assert page.names("link", "#main").count("Compare plans") == 2  # in the place of each form
    assert api.get("/usage/export").status_code == 403
    assert api.post("/system/export", {}, format="json").status_code == 403

    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    follow(page, "Exports")
    assert_same_csv(page, api, {"range": "30d"})
    page.fill("One row per", "days", USAGE)
    assert_same_csv(page, api, {"range": "30d", "rows": "days"})
    page.fill("Period", "custom", USAGE)
    page.fill("From", "2026-10-31", USAGE)
    page.fill("To", "2026-11-01", USAGE)
    days = {"start_date": "2026-10-31", "end_date": "2026-11-01"}
    assert_same_csv(page, api, {**days, "rows": "days"})
    page.fill("Period", "90d", USAGE)
    page.fill("One row per", "requests", USAGE)
    requested = {"range": "90d"}
    for label, name, value in (
        ("Client ID", "client_id", gateway.credential.client_id),
        ("Capability", "capability", "chat"),
        ("Endpoint", "endpoint", "/v1/embeddings"),
    ):
        page.fill(label, value, USAGE)
        requested[name] = value
    assert_same_csv(page, api, requested)
    page.fill("Capability", "", USAGE)
    page.fill("Model", "gpt-4.1-mini", USAGE)
    page.fill("Status", "success", USAGE)
    assert_same_csv(page, api, {**requested, "capability": "", "model": "gpt-4.1-mini", "status": "success"})

    assert_same_zip(page, api, start_date="2026-10-04T04:00:00Z", end_date="2026-11-03T04:59:59.999999Z")
    page.fill("Period", "all", RUNS)
    assert_same_zip(page, api)
    for label, name, value in (("Session id", "session_id", ODD), ("Group id", "group_id", "group-11")):
        page.fill(label, value, RUNS)
        assert_same_zip(page, api, **{name: value})
        page.fill(label, "", RUNS)
    page.fill("Model", "gpt-4.1", RUNS)
    (model,) = [item for item in posted(api, "/system/pricing", {})["model_options"] if item["label"] == "gpt-4.1"]
    assert_same_zip(page, api, model_ids=[model["value"]])


def assert_same_csv(page: PlainPage, api: APIClient, requested: UsageQuery) -> None:
    shown = page.download("Download file")
    response = api.get("/usage/export", requested)
    assert response.status_code == 200, requested
    reported = b"".join(response.streaming_content)  # type: ignore[attr-defined] # the stubs know of plain answers only
    assert shown == BOM_UTF8 + reported, requested  # the mark that spreadsheets need
    assert len(list(csv.reader(io.StringIO(shown.decode())))) > 1, requested


def assert_same_zip(page: PlainPage, api: APIClient, **requested: Any) -> None:
    shown = lines_of(page.download("Download ZIP"))
    reported = posted(api, "/system/export", requested)
    assert shown == lines_of(b64decode(reported["content"])), requested
    assert count(len(shown)) == count(reported["row_count"])
    assert shown, requested


def lines_of(zipped: bytes) -> list[dict[str, str]]:
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        return list(csv.DictReader(io.StringIO(archive.read("runs.csv").decode())))
