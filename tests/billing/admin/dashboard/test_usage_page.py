"""The usage page: who sees it, where it leads, what it refuses, and what it says when there is nothing to show."""

from codecs import BOM_UTF8
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.rollups.fold import fold
from billing.types import LimitWindow
from costtrack.money import usd
from organizations.models import Organization, User
from organizations.types import Scope
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.dashboard.usage_month import LEDGER, PAGE, call, get, monday_noon, month
from tests.conftest import Key, make_key
from tests.limits import set_limit
from tests.usage import NOW, Send

__all__ = ["monday_noon", "month"]  # fixtures from another module


@pytest.mark.usefixtures("month")
def test_a_row_narrows_the_page_to_itself(owner: User, organization: Organization, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    set_limit(organization, "10", window=LimitWindow.ROLLING_7D)
    for by in ("capability", "model", "credential"):
        row = get(browser, f"range=7d&view=tokens&group_by={by}").context["breakdown"].rows[0]
        narrowed = browser.get(row.url)
        cost = {figure.name: figure.value for figure in narrowed.context["figures"]}["Cost"]
        assert cost == usd(row.figures.cost_usd)
        assert {"range": ["7d"], "view": ["tokens"]}.items() <= parse_qs(urlsplit(row.url).query).items()
        page = narrowed.content.decode()
        assert "Limits include all usage." in page
        assert "All usage: Organization, rolling 7 days" in page
        assert "Expected" not in {overlay.name for overlay in narrowed.context["usage"].chart.overlays}


@pytest.mark.usefixtures("month")
def test_the_bar_of_a_day_leads_to_that_day(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    chart = get(browser, "model=gpt-4o&range=7d&group_by=none").context["usage"].chart
    (line,) = chart.lines
    assert len(chart.urls) == 7
    day = browser.get(chart.urls[-2])
    cost = next(figure.value for figure in day.context["figures"] if figure.name == "Cost")
    assert cost == line.texts[-2]
    assert len(day.context["usage"].chart.labels) == 24
    assert day.context["form"].cleaned_data["model"] == "gpt-4o"


@pytest.mark.parametrize("hour", ["", "soon", "2026-13-01T00:00", "9999-12-31T23:30", "0001-01-01T00:00+05:00", "%00"])
@pytest.mark.usefixtures("month")
def test_hours_that_are_none_leave_nothing_of_the_ledger(hour: str, owner: User, sign_in: SignIn) -> None:
    ledger = sign_in(owner).get(f"{LEDGER}?hour={hour}")
    assert ledger.status_code == 200
    assert bool(len(ledger.context["cl"].result_list)) == (not hour)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("range=ever", "range"),
        ("start_date=yesterday", "start_date"),
        ("start_date=1999-01-01", "start_date"),
        ("start_date=2026-11-02&end_date=2026-11-01", "end_date"),
        ("range=custom", "start_date"),
        ("status=maybe", "status"),
        ("view=speed", "view"),
        ("group_by=color", "group_by"),
        ("model=%00", "model"),
        (f"capability={'x' * 300}", "capability"),
    ],
)
@pytest.mark.usefixtures("month")
def test_a_wrong_filter_is_said_beside_it(query: str, name: str, owner: User, sign_in: SignIn) -> None:
    page = get(sign_in(owner), query)
    (error,) = page.context["form"].errors[name]
    assert str(error).replace("'", "&#x27;") in page.content.decode()
    assert page.context["period"].name == "Last 30 days"


def test_periods_too_long_for_a_chart_are_refused(owner: User, organization: Organization, sign_in: SignIn) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    page = sign_in(owner).get(f"{PAGE}?start_date=2000-01-01&end_date=2199-12-31")
    assert page.status_code == 422
    assert b"more than 1000 months" in page.content


def test_what_the_plan_does_not_show_is_said(owner: User, operator: User, sign_in: SignIn, send: Send) -> None:
    send(call(24 * 100, "5"))
    browser = sign_in(owner)
    refused = browser.get(f"{PAGE}?start_date=2026-07-01&end_date=2026-07-31")
    assert refused.status_code == 403
    assert "plan shows the last 90 days of usage. Upgrade to" in refused.content.decode()
    clipped = get(browser, "start_date=2026-07-01").content.decode()
    assert "plan shows 90 days of history, since Aug 4, 2026." in clipped
    assert "the previous period is outside your plan" in clipped
    everything = get(sign_in(operator), "start_date=2026-07-01")
    assert everything.context["figures"][0].value == "$5.00"
    assert everything.context["since"] == ""


def test_a_plan_without_api_usage_says_so_and_what_to_do(
    owner: User, operator: User, organization: Organization, sign_in: SignIn, send: Send
) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    send(call(1, "5"))
    page = get(sign_in(owner)).content.decode()
    assert "The Free plan has no API access. Upgrade to Pay as you go" in page
    assert "$5.00" not in page
    assert sign_in(owner).get(f"{PAGE}export/").status_code == 403
    assert "$5.00" in get(sign_in(operator)).content.decode()


def test_an_organization_without_usage_sees_how_to_begin(owner: User, sign_in: SignIn, send: Send) -> None:
    browser = sign_in(owner)
    assert "Send the first event" in get(browser).content.decode()
    send(call(24 * 40, "5"))
    page = get(browser, "range=today").content.decode()
    assert "Send the first event" not in page
    assert "No usage in this period." in page
    assert "with these filters" in get(browser, "model=o3").content.decode()


@pytest.mark.usefixtures("month")
def test_the_file_is_that_of_the_api(
    owner: User, operator: User, organization: Organization, sign_in: SignIn, api: APIClient
) -> None:
    browser = sign_in(owner)
    page = get(browser, "model=gpt-4o")
    assert "plan has no exports. Upgrade to" in page.content.decode()
    assert browser.get(f"{PAGE}export/").status_code == 403
    assert sign_in(operator).get(f"{PAGE}export/").status_code == 200
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    urls = [url for _, url in get(browser, "model=gpt-4o").context["files"]]
    for url, rows in zip(urls, ("days", "requests"), strict=True):
        file: Any = browser.get(url)
        answer: Any = api.get(f"/usage/export?model=gpt-4o&rows={rows}")
        assert b"".join(file.streaming_content) == BOM_UTF8 + b"".join(answer.streaming_content)
        assert file["Content-Disposition"] == answer["Content-Disposition"]
    for query in ("rows=weeks", "status=maybe", "rows=%00"):
        assert browser.get(f"{PAGE}export/?{query}").status_code == 422


def test_a_limit_that_is_near_stands_at_the_head(
    owner: User, organization: Organization, sign_in: SignIn, send: Send
) -> None:
    browser = sign_in(owner)
    send(call(1, "9"))
    assert "No limit applies to Acme Research as a whole." in get(browser).content.decode()
    set_limit(organization, "10", window=LimitWindow.ROLLING_7D)
    page = get(browser).content.decode()
    for shown in ("ct-near", "Organization, rolling 7 days.", "$9.00 spent of $10.00", "View limit"):
        assert shown in page
    assert 'role="meter"' in page.split("ct-spend-limit")[1]
    set_limit(organization, "9", window=LimitWindow.CALENDAR_DAY)
    page = get(browser).content.decode()
    assert "2 limits need attention:" in page
    assert "Organization, day (paused until Tue 12 AM); Organization, rolling 7 days (90%)" in page
    assert page.count('class="ct-banner ct-attention') == 1


@pytest.mark.usefixtures("month")
def test_it_shows_its_time_and_refreshes(owner: User, sign_in: SignIn) -> None:
    page = get(sign_in(owner), "range=7d").content.decode()
    assert "As of Nov 2, 2026, 5:30:00 PM" in page
    assert f'hx-get="{PAGE}?range=7d" hx-trigger="every 15s"' in page
    part = get(sign_in(owner), "range=7d", **{"HX-Request": "true"}).content.decode()
    assert "As of" in part
    assert "<form" not in part
    assert "<html" not in part


def test_the_number_of_queries_does_not_grow_with_what_is_there(
    owner: User, organization: Organization, sign_in: SignIn, send: Send
) -> None:
    def query_count(query: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            get(browser, query)
        return len(captured)

    browser = sign_in(owner)
    queries = ("", "range=90d&group_by=credential", f"client_id={make_key(organization).credential.client_id}")
    send(call(1, "1", user_id="u", tags=["t"], capability="c"))
    fold(now=NOW)
    get(browser)
    before = [query_count(query) for query in queries]
    send(*(call(n, "1", user_id=f"u{n}", tags=[f"t{n}"], capability=f"c{n}", model=f"m{n}") for n in range(60)))
    for number in range(20):
        make_key(organization, Scope.COSTS_READ, name=f"key {number}")
    fold(now=NOW)
    get(browser)
    assert [query_count(query) for query in queries] == before
    assert max(before) <= 30


@pytest.mark.usefixtures("month")
def test_filters_offer_what_was_used(owner: User, sign_in: SignIn, key: Key) -> None:
    fold(now=NOW)
    page = get(sign_in(owner), "model=gone").content.decode()
    for option in ("chat", "embeddings", "gpt-4o", "o3", key.credential.client_id, "none"):
        assert f'<option value="{option}"' in page
    assert '<option value="gone" selected>' in page
    assert '<option value="30d" selected>' in page


def test_the_admin_begins_with_the_usage_of_the_only_organization(
    owner: User, operator: User, organization: Organization, other_organization: Organization, sign_in: SignIn
) -> None:
    assert sign_in(owner).get("/admin/")["Location"] == PAGE
    assert sign_in(owner).get("/o/acme/admin/")["Location"] == PAGE
    assert sign_in(operator).get("/o/globex/admin/")["Location"] == "/o/globex/admin/usage/"
    overview = sign_in(operator).get("/admin/")
    assert overview.status_code == 200
    for slug in ("acme", "globex"):
        assert f'href="/o/{slug}/admin/usage/"' in overview.content.decode()
    owner.memberships.create(organization=other_organization, role="viewer")
    assert sign_in(User.objects.get(pk=owner.pk)).get("/admin/").status_code == 200


def test_the_organization_filter_leads_to_the_same_page_of_another_one(
    owner: User, other_organization: Organization, key: Key, sign_in: SignIn
) -> None:
    assert 'name="organization"' not in get(sign_in(owner)).content.decode()
    owner.memberships.create(organization=other_organization, role="viewer")
    Organization.objects.filter(slug="acme").update(plan="enterprise")
    browser = sign_in(User.objects.get(pk=owner.pk))
    response = get(browser, f"organization=acme&range=7d&client_id={key.credential.client_id}")
    page = response.content.decode()
    assert '<option value="acme" selected>Acme Research</option>' in page
    assert '<option value="globex">Globex Labs</option>' in page
    for path in (PAGE, "/admin/usage/"):
        to = browser.get(f"{path}?organization=globex&range=7d&model=o3&client_id={key.credential.client_id}")
        assert to["Location"] == "/o/globex/admin/usage/?range=7d&model=o3"
    assert {browser.get(file).status_code for _, file in response.context["files"]} == {200}


@pytest.mark.parametrize("slug", ["globex", "no-such", "%00", ""])
def test_the_organization_filter_opens_no_other_tenant(
    owner: User, other_organization: Organization, slug: str, sign_in: SignIn
) -> None:
    assert sign_in(owner).get(f"{PAGE}?organization={slug}").status_code == 404


def test_operators_choose_an_organization_and_are_never_sent_into_one(
    operator: User, organization: Organization, other_organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(operator)
    assert browser.get("/o/globex/admin/usage/").status_code == 200
    for page in ("usage", "runs", "requests", "exports"):
        choice = browser.get(f"/admin/{page}/?range=7d")
        assert choice.status_code == 200
        for slug in ("acme", "globex"):
            assert f'href="/o/{slug}/admin/{page}/?range=7d"' in choice.content.decode()
    assert browser.get("/admin/usage/?organization=acme")["Location"] == "/o/acme/admin/usage/"
    assert browser.get("/admin/usage/?organization=no-such").status_code == 404
