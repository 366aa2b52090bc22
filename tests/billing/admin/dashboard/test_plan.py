"""The plan's page: plans are rows, the figures are the API's."""

import html
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.models import SpendLimit
from billing.types import LimitScope, LimitWindow
from costtrack.calendar import Preset
from costtrack.clock import utc_now
from costtrack.money import usd
from organizations.models import Organization, Plan, User
from organizations.services import update_organization
from tests.billing.admin.conftest import SignIn
from tests.limits import set_limit
from tests.usage import Send

PATH = "/o/acme/admin/plan/"


def page(browser: Client) -> str:
    response = browser.get(PATH)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def table(text: str) -> dict[str, list[str]]:
    """The comparison: the cells of each line, by its name."""
    (result,) = re.findall(r'<table class="ct-table ct-plans">.*?</table>', text, re.DOTALL)
    rows = [re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr>.*?</tr>", result, re.DOTALL)]
    signs = re.compile(r'<span class="ct-sign.*?</span>', re.DOTALL)
    cells = [[" ".join(re.sub("<.*?>", " ", signs.sub("", cell)).split()) for cell in row] for row in rows]
    return {name: rest for name, *rest in cells}


def move(organization: Organization, plan: str) -> None:
    update_organization(organization=organization, plan=plan, actor="tests", now=utc_now())


def test_all_plans_are_compared_and_the_present_one_is_marked(sign_in: SignIn, owner: User) -> None:
    lines = table(page(sign_in(owner)))
    assert lines.pop("") == ["Free", "Pay as you go Your plan", "Pro", "Enterprise"]
    access, weekly, monthly, shown, exports, requests = lines.values()
    assert access == ["No", "Yes", "Yes", "Yes"]
    assert weekly == ["None no API access", "$100.00", "No maximum", "No maximum"]
    assert monthly == ["None no API access", "No maximum", "$800.00", "No maximum"]
    assert shown == ["90 days", "90 days", "90 days", "Everything"]
    assert exports == ["No", "No", "No", "Yes"]
    assert requests == ["None", "600 per minute", "3,000 per minute", "No limit"]


def test_what_the_operator_changes_is_what_is_shown(sign_in: SignIn, owner: User) -> None:
    Plan.objects.filter(pk="pro").update(name="Team", history_days=1, default_weekly_limit_usd=Decimal("12.5"))
    Plan.objects.create(code="tiny", name="Tiny <b>", position=0, max_weekly_limit_usd=Decimal(5))
    lines = table(page(sign_in(owner)))
    assert [name for name in lines[""] if name][2:4] == ["Pay as you go Your plan", "Team"]
    weekly, _, shown, *_ = list(lines.values())[2:]
    assert weekly[0] == "$5.00"
    assert weekly[3] == "No maximum $12.50 by default"
    assert shown[3] == "1 day"


def test_the_spend_is_what_the_api_says(
    sign_in: SignIn, owner: User, organization: Organization, api: APIClient, send: Send
) -> None:
    now = utc_now()
    before = organization.calendar.preset(Preset.LAST_MONTH, now)
    send({"cost_usd": "1234.5"}, {"cost_usd": "7", "occurred_at": before.start.isoformat()}, now=now)
    answer = api.get("/usage/summary").json()["spend"]
    text = page(sign_in(owner))
    assert f"<strong>{usd(Decimal(answer['month_to_date_usd']))}</strong>" in text
    assert "<strong>$7.00</strong>" in text
    assert "Spent this month" in text


def test_without_maximum_the_month_is_an_invoice(
    sign_in: SignIn, owner: User, organization: Organization, send: Send
) -> None:
    move(organization, "enterprise")
    send({"cost_usd": "3"}, now=utc_now())
    text = page(sign_in(owner))
    assert "Monthly invoice, so far" in text
    assert "<strong>$3.00</strong>" in text
    assert "The Enterprise plan has no limits." in text


def test_a_month_that_the_plan_does_not_show_is_not_shown(sign_in: SignIn, owner: User, operator: User) -> None:
    Plan.objects.filter(pk="pay_as_you_go").update(history_days=0)
    assert "Spent last month" not in page(sign_in(owner))
    assert "Spent last month" in page(sign_in(operator))


def test_the_plans_own_limits_are_there_with_their_gauges_and_no_others(
    sign_in: SignIn, owner: User, organization: Organization, send: Send
) -> None:
    move(organization, "pro")
    set_limit(organization, "55", scope=LimitScope.USER, value="ada")
    send({"cost_usd": "200"}, now=utc_now())
    text = page(sign_in(owner))
    limit = SpendLimit.objects.get(is_plan=True, window=LimitWindow.CALENDAR_MONTH)
    assert f'href="/o/acme/admin/billing/spendlimit/{limit.pk}/change/"' in text
    assert 'aria-valuetext="$200.00 spent of $800.00"' in text
    assert "ada" not in text


def test_a_plan_without_paid_access_says_so(sign_in: SignIn, viewer: User, organization: Organization) -> None:
    move(organization, "free")
    assert "no API access, so there is nothing to limit" in page(sign_in(viewer))


@pytest.mark.parametrize("who", ["owner", "viewer"])
def test_members_see_whom_to_ask_and_operators_a_link(
    sign_in: SignIn, operator: User, organization: Organization, who: str, request: pytest.FixtureRequest
) -> None:
    text = page(sign_in(request.getfixturevalue(who)))
    change = f"/o/acme/admin/organizations/organization/{organization.pk}/change/"
    assert "Ask an operator of this installation" in text
    assert f'href="{change}">Change' not in text
    assert "organizations/plan/" not in text
    text = page(sign_in(operator))
    assert f'href="{change}">Change the plan of Acme Research</a>' in text
    assert 'href="/admin/organizations/plan/"' in text


def test_strangers_do_not_know_the_page(sign_in: SignIn, stranger: User, organization: Organization) -> None:
    assert sign_in(stranger).get(PATH).status_code == 404


def test_the_queries_do_not_grow_with_the_ledger(
    sign_in: SignIn, owner: User, organization: Organization, send: Send
) -> None:
    move(organization, "pro")
    browser = sign_in(owner)
    counts = []
    for _ in range(2):
        now = utc_now()
        send(*({"cost_usd": "1", "occurred_at": (now - timedelta(days=day)).isoformat()} for day in range(30)), now=now)
        page(browser)
        with CaptureQueriesContext(connection) as captured:
            page(browser)
        counts.append(len(captured))
    assert counts[0] == counts[1]
