"""The page of shared cost: before and after, rules with a preview, and a file with the same numbers."""

import csv
import html
import re
from io import StringIO
from typing import Any

from django.test import Client
from rest_framework.test import APIClient

from billing.models import AllocationRule
from billing.reports.months import this_month
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn

PATH, RULE = "/o/acme/admin/allocation/", "/o/acme/admin/allocation/rule/"


def text_of(response: object) -> str:
    assert getattr(response, "status_code", None) == 200
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", response.content.decode())).split())  # type: ignore[attr-defined]


def page(browser: Client, query: str = "") -> str:
    return text_of(browser.get(f"{PATH}?{query}"))


def test_a_rule_is_previewed_saved_seen_and_ended(
    sign_in: SignIn,
    owner: User,
    viewer: User,
    api: APIClient,
    other_api: APIClient,
    organization: Organization,
    whole_history: None,
) -> None:
    browser, month = sign_in(owner), this_month(organization, utc_now())
    assert "No cost in" in page(browser)
    for team, usd in (("core", "3"), ("search", "1"), ("", "2.5")):
        api.post("/usage/events", {"kind": "compute", "cost_usd": usd, "team": team})
    other_api.post("/usage/events", {"kind": "compute", "cost_usd": "777", "team": "theirs"})
    before = page(browser)
    assert "61.5%" in before
    assert "777" not in before

    fields = {"name": "Rest", "by": "team", "starts": f"{month:%Y-%m}", "without_target_only": "on", "position": "1"}
    fields |= {"method": "fixed", "targets": "core = 50\nops = 50%"}
    assert "100" in text_of(browser.post(RULE, {**fields, "targets": "core = 40\nops = 50%", "preview": "1"}))
    assert "Enter a percentage" in text_of(browser.post(RULE, {**fields, "targets": "core", "preview": "1"}))
    preview = text_of(browser.post(RULE, {**fields, "preview": "1"}))
    for shown in ("Preview of", "100.0%", "$4.25", "$1.25"):
        assert shown in preview
    assert not AllocationRule.objects.exists()
    saved = browser.post(RULE, {**fields, "save": "1"}, follow=True)
    assert "Rule saved" in text_of(saved)
    version = AllocationRule.objects.get()
    after = page(browser)
    for shown in ("Rest", "core 50%, ops 50%", "$4.25", "Applies", owner.email):
        assert shown in after

    rows = csv.DictReader(StringIO(browser.get(f"{PATH}file/").getvalue().decode("utf-8-sig")))
    assert {row["target"]: row["total_usd"] for row in rows} == {"core": "4.25", "ops": "1.25", "search": "1", "": "0"}

    focus: Any = browser.get(f"/o/acme/admin/statements/focus/?month={month:%Y-%m}&version=1.4&by=team")
    charges = csv.DictReader(StringIO(b"".join(focus.streaming_content).decode()))
    assert {row["x_AllocatedTo"] for row in charges if row["AllocatedMethodId"] == "fixed"} == {"core", "ops"}
    assert "FOCUS 1.4 CSV" in after

    edit = browser.get(f"{RULE}?version={version.pk}").content.decode()
    assert "core = 50" in edit
    assert "New version of Rest" in edit
    ended = browser.post(f"{RULE}?version={version.pk}", {"ends": f"{month:%Y-%m}", "end": "1"}, follow=True)
    assert "Rule ended" in text_of(ended)
    assert "Unallocated $2.50" in page(browser)

    reader = sign_in(viewer)
    assert "New rule" not in page(reader)
    assert reader.get(RULE).status_code == reader.post(RULE, {**fields, "save": "1"}).status_code == 403
    assert browser.get(f"{RULE}?version=0").status_code == 404
