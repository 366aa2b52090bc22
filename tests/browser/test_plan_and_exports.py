"""The plan, the exports with each of their choices, and the first steps, beside what the API answers."""

import csv
import io
import zipfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from billing.types import LimitWindow
from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.history import ODD
from tests.browser.screens import DESK
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
)
from tests.conftest import Key
from tests.limits import set_limit

pytestmark = pytest.mark.usefixtures("history")

UsageQuery = dict[str, str]


def test_the_plan_and_the_first_steps_say_what_the_api_says(
    browse: Browse, operator: User, api: APIClient, organization: Organization
) -> None:
    set_limit(organization, "100", window=LimitWindow.ROLLING_7D, is_plan=True)
    page = browse(operator, viewport=DESK)
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
    assert (page.get_by_role("meter").get_attribute("aria-valuetext") or "").startswith(gauge)
    expect(page.get_by_text(f"{dollars(limit['remaining_usd'])} left")).to_be_visible()
    heads = page.get_by_role("region", name="All plans compared").get_by_role("columnheader")
    assert [text.partition("\n")[0] for text in heads.all_inner_texts()] == [
        "",
        "Free",
        "Pay as you go",
        "Pro",
        "Enterprise",
    ]

    follow(page, "Getting started")
    reported = answer(api, "/organizations/acme/credentials", revoked="false")["results"]
    assert [cells[:2] for cells in rows(page, "Credentials")] == [[one["name"], one["client_id"]] for one in reported]
    for one, cells in zip(reported, rows(page, "Credentials"), strict=True):
        assert cells[2] == ", ".join(one["scopes"])
    assert_first_event(page, all_pages(api, "/usage/events"))


def assert_first_event(page: Page, events: list[dict[str, Any]]) -> None:
    """The page links to the one that it tells of."""
    step = page.get_by_role("heading", name="Step 3: first event received").locator("xpath=ancestor::section")
    address = step.get_by_role("link", name="View cost details").get_attribute("href") or ""
    (event,) = [one for one in events if one["id"] in address]
    sent = event["input_tokens"] + event["cache_read_tokens"] + event["cache_creation_tokens"]
    expect(step).to_contain_text(event["model"] or event["tool"])
    expect(step).to_contain_text(f"{count(sent)} in, {count(event['output_tokens'])} out")
    expect(step).to_contain_text("Not known yet" if event["cost_usd"] is None else dollars(event["cost_usd"]))


# --- Exports ---------------------------------------------------------------------------------------------------


def test_files_are_those_of_the_api_whatever_is_chosen(
    browse: Browse, owner: User, api: APIClient, gateway: Key, organization: Organization, tmp_path: Path
) -> None:
    page = browse(owner, viewport=DESK)
    start(page)
    follow(page, "Exports")  # the plan has no CSV
    expect(page.get_by_role("button", name="Download CSV")).to_have_count(0)
    expect(page.get_by_role("link", name="Compare plans")).to_have_count(1)
    assert api.get("/usage/export").status_code == 403

    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    follow(page, "Exports")
    usage = page.get_by_role("form", name="Usage as CSV")
    assert_same_csv(page, api, tmp_path, {"range": "30d"})
    usage.get_by_label("One row per").select_option("days")
    assert_same_csv(page, api, tmp_path, {"range": "30d", "rows": "days"})
    usage.get_by_label("Period").select_option("custom")
    usage.get_by_label("From", exact=True).fill("2026-10-31")
    usage.get_by_label("To", exact=True).fill("2026-11-01")
    days = {"start_date": "2026-10-31", "end_date": "2026-11-01"}
    assert_same_csv(page, api, tmp_path, {**days, "rows": "days"})
    usage.get_by_label("Period").select_option("90d")
    usage.get_by_label("One row per").select_option("requests")
    requested = {"range": "90d"}
    for label, name, value in (
        ("Client ID", "client_id", gateway.credential.client_id),
        ("Capability", "capability", "chat"),
        ("Endpoint", "endpoint", "/v1/embeddings"),
    ):
        usage.get_by_label(label, exact=True).fill(value)
        requested[name] = value
    assert_same_csv(page, api, tmp_path, requested)
    usage.get_by_label("Capability", exact=True).fill("")
    usage.get_by_label("Model", exact=True).fill("gpt-4.1-mini")
    usage.get_by_label("Status", exact=True).select_option("success")
    assert_same_csv(page, api, tmp_path, {**requested, "capability": "", "model": "gpt-4.1-mini", "status": "success"})

    runs = page.get_by_role("form", name="Runs as ZIP")
    assert_same_zip(page, api, tmp_path, start_date="2026-10-04T04:00:00Z", end_date="2026-11-03T04:59:59.999999Z")
    runs.get_by_label("Period").select_option("all")
    assert_same_zip(page, api, tmp_path)
    for label, name, value in (("Session id", "session_id", ODD), ("Group id", "group_id", "group-11")):
        runs.get_by_label(label).fill(value)
        assert_same_zip(page, api, tmp_path, **{name: value})
        runs.get_by_label(label).fill("")
    runs.get_by_label("Model").fill("gpt-4.1")
    (model,) = [one for one in posted(api, "/system/pricing", {})["model_options"] if one["label"] == "gpt-4.1"]
    assert_same_zip(page, api, tmp_path, model_ids=[model["value"]])


def downloaded(page: Page, button: str, folder: Path) -> bytes:
    with page.expect_download() as found:
        page.get_by_role("button", name=button).click()
    saved = folder / found.value.suggested_filename
    found.value.save_as(saved)
    return saved.read_bytes()


def assert_same_csv(page: Page, api: APIClient, folder: Path, requested: UsageQuery) -> None:
    shown = downloaded(page, "Download CSV", folder)
    response = api.get("/usage/export", requested)
    assert response.status_code == 200, requested
    reported = b"".join(response.streaming_content)  # type: ignore[attr-defined] # the stubs know of plain answers only
    assert shown == reported, requested
    assert len(list(csv.reader(io.StringIO(shown.decode())))) > 1, requested


def assert_same_zip(page: Page, api: APIClient, folder: Path, **requested: Any) -> None:
    shown = lines_of(downloaded(page, "Download ZIP", folder))
    reported = posted(api, "/system/export", requested)
    assert shown == lines_of(b64decode(reported["content"])), requested
    assert count(len(shown)) == count(reported["row_count"])
    assert shown, requested


def lines_of(zipped: bytes) -> list[dict[str, str]]:
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        return list(csv.DictReader(io.StringIO(archive.read("runs.csv").decode())))
