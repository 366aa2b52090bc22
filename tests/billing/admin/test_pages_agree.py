"""What holds on several pages: unknown costs are not zero, a plan hides usage everywhere, and cost comes first."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import time_machine
from django.contrib.staticfiles import finders
from django.test import Client

from billing.models import UsageEvent
from billing.rollups.fold import fold
from costtrack.clock import iso
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.pricing.prices import price
from tests.usage import NOW, Send

ADMIN = "/o/acme/admin/"
CALL = {"service": "openai", "model": "gpt-4o", "run_id": "r", "session_id": "s", "user_id": "ada", "tags": ["team:a"]}


def text(browser: Client, path: str) -> str:
    response: Any = browser.get(f"{ADMIN}{path}", follow=True)
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_an_event_without_a_price_has_no_badge_of_a_computed_cost(
    owner: User, organization: Organization, sign_in: SignIn, send: Send
) -> None:
    price(organization, "gpt-4o", 1)
    send({"model": "house-13b", "input_tokens": 10}, {**CALL, "input_tokens": 10})
    browser = sign_in(owner)
    unpriced, priced = UsageEvent.objects.order_by("-unpriced")
    pages = [text(browser, f"billing/usageevent/{event.pk}/change/") for event in (unpriced, priced)]
    assert ["No price yet" in page for page in pages] == [True, False]
    assert ["Computed from a price" in page for page in pages] == [False, True]


def test_a_plan_without_usage_hides_it_on_every_page(
    owner: User, organization: Organization, sign_in: SignIn, send: Send
) -> None:
    with time_machine.travel(NOW, tick=False):
        send({**CALL, "cost_usd": "3", "occurred_at": iso(NOW - timedelta(minutes=5))})
        fold(now=NOW)
        browser = sign_in(owner)
        paths = ("usage/", "explore/", "pricing/", "requests/", "runs/", "sessions/", "billing/usageevent/")
        assert [path for path in paths if "$3.00" not in text(browser, path)] == []
        Organization.objects.filter(pk=organization.pk).update(plan="free")
        assert [path for path in paths if "$3.00" in text(browser, path)] == []
        assert [path for path in paths if "API access" not in text(browser, path)] == []


def test_cost_is_among_the_first_columns_so_that_a_phone_shows_it(owner: User, sign_in: SignIn, send: Send) -> None:
    with time_machine.travel(NOW, tick=False):
        send({**CALL, "cost_usd": "3", "occurred_at": iso(NOW - timedelta(minutes=5))})
        browser = sign_in(owner)
        for path in ("usage/", "explore/", "requests/", "runs/", "sessions/"):
            page: Any = browser.get(f"{ADMIN}{path}")
            table = re.findall(r"<table.*?</table>", page.content.decode(), re.DOTALL)[-1 if path == "usage/" else 0]
            (first_row,) = re.findall(r"<tbody>\s*(<tr.*?</tr>)", table, re.DOTALL)[:1]
            cells = [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in re.split(r"</t[hd]>", first_row)]
            assert any(cell.startswith("$3.00") for cell in cells[1:4]), (path, cells)


def test_a_breakdown_says_for_what_it_has_no_price(owner: User, sign_in: SignIn, send: Send) -> None:
    with time_machine.travel(NOW, tick=False):
        send({"model": "house-13b", "input_tokens": 10, "occurred_at": iso(NOW - timedelta(minutes=5))})
        browser = sign_in(owner)
        for path in ("usage/", "explore/", "pricing/"):
            shown = text(browser, path)
            assert "house-13b" in shown, path
            assert "No price yet" in shown, path


def test_long_numbers_are_short_on_the_home_page(owner: User, sign_in: SignIn, send: Send) -> None:
    with time_machine.travel(NOW, tick=False):
        tokens = 2_147_483_647
        send({**CALL, "input_tokens": tokens, "cost_usd": "1", "occurred_at": iso(NOW - timedelta(minutes=5))})
        shown = sign_in(owner).get(f"{ADMIN}usage/").content.decode()
        assert f'<span title="{tokens:,}">2.15B</span>' in shown


def test_icons_are_invisible_until_their_font_is_there() -> None:
    stylesheet = finders.find("costtrack/admin.css")
    faces = re.findall(r"@font-face\s*{.*?}", Path(str(stylesheet)).read_text(), re.DOTALL)
    assert any("Material Symbols" in face and "font-display: block" in face for face in faces)


def test_the_overview_of_operators_has_the_spend_of_today(operator: User, sign_in: SignIn, send: Send) -> None:
    with time_machine.travel(NOW, tick=False):
        send({**CALL, "cost_usd": "3", "occurred_at": iso(NOW - timedelta(minutes=5))})
        send({**CALL, "cost_usd": "100", "occurred_at": iso(NOW - timedelta(days=9))})
        (card,) = sign_in(operator).get("/admin/").context["cards"]
        assert (card.cost, card.events) == ("$3.00", "2 events")
