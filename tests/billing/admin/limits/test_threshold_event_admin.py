"""The admin's pages of threshold events, and what the overview says of limits that are near, reached or paused."""

import re
from datetime import datetime
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.limits.services import pause_limit
from billing.models import PAUSING, SpendLimit, ThresholdEvent
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now
from organizations.models import Organization, User
from organizations.principals import Principal
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import text
from tests.limits import set_limit
from tests.usage import NOW, Send

LIST = "/admin/billing/thresholdevent/"
USAGE = "/o/acme/admin/usage/"


def crossed(
    limit: SpendLimit, threshold: int, *, value: str = "", over: bool = False, at: datetime = NOW
) -> ThresholdEvent:
    return ThresholdEvent.objects.create(
        organization=limit.organization,
        limit=limit,
        value=value,
        threshold=threshold,
        window_key=str(threshold),
        amount_usd=limit.amount_usd,
        spent_usd=limit.amount_usd * Decimal(threshold) / 100,
        reached_at=at,
        resolved_at=NOW if over else None,
    )


def page_of(threshold_event: ThresholdEvent) -> str:
    return reverse("admin:billing_thresholdevent_change", args=[threshold_event.pk])


def rows(client: Client, **query: str | int) -> list[int]:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return [row.threshold for row in response.context["cl"].result_list]


@pytest.fixture
def limit(organization: Organization) -> SpendLimit:
    return set_limit(organization, "10", window=LimitWindow.CALENDAR_DAY)


# --- Threshold events -------------------------------------------------------------------------------------------------


def test_members_see_their_organizations_threshold_events_newest_first(
    limit: SpendLimit,
    owner: User,
    viewer: User,
    stranger: User,
    other_organization: Organization,
    sign_in: SignIn,
) -> None:
    crossed(limit, 80)
    crossed(limit, 95)
    theirs = crossed(set_limit(other_organization, "77"), PAUSING)
    assert rows(sign_in(owner)) == rows(sign_in(viewer)) == [95, 80]
    assert rows(sign_in(stranger)) == [PAUSING]
    response = sign_in(owner).get(page_of(theirs), follow=True)
    assert response.redirect_chain[0][0] == "/admin/"
    assert sign_in(owner).post(page_of(ThresholdEvent.objects.earliest("id")), {"threshold": "1"}).status_code == 403


def test_filters_narrow_the_list(limit: SpendLimit, owner: User, organization: Organization, sign_in: SignIn) -> None:
    for threshold in (0, 80, PAUSING):
        crossed(limit, threshold, over=threshold == 80)
    crossed(set_limit(organization, "1", LimitScope.TAG, "a"), 95)
    browser = sign_in(owner)
    assert rows(browser, threshold="soft") == [0]
    assert rows(browser, threshold="whole") == [PAUSING]
    assert rows(browser, threshold="warning") == [95, 80]
    assert rows(browser, state="resolved") == [80]
    assert rows(browser, limit=limit.pk) == [PAUSING, 80, 0]
    assert rows(browser, limit="x") == rows(browser, when_from="2026-11-03") == []
    assert len(rows(browser, threshold="?", state="?", when_from="?")) == 4


def test_a_threshold_event_says_what_was_reached_and_of_whom(
    owner: User, organization: Organization, sign_in: SignIn
) -> None:
    limit = set_limit(organization, "10", LimitScope.USER, window=LimitWindow.CALENDAR_DAY)
    row = crossed(limit, 80, value="ada")
    browser = sign_in(owner)
    for path in (LIST, page_of(row)):
        page = text(browser, path)
        assert "User ada, day" in page
        assert "80%" in page
        assert "Still above" in page
    its_limit = text(browser, reverse("admin:billing_spendlimit_change", args=[limit.pk]))
    assert f"{LIST}?organization={organization.pk}&amp;limit={limit.pk}" in its_limit
    assert "80%, ada" in its_limit


def test_the_list_takes_the_same_few_statements(
    owner: User, organization: Organization, api: object, sign_in: SignIn
) -> None:
    limit = set_limit(organization, "10", LimitScope.CREDENTIAL, window=LimitWindow.CALENDAR_DAY)
    value = str(organization.credentials.get().pk)
    crossed(limit, 1, value=value)
    browser = sign_in(owner)

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(LIST).status_code == 200
        return len(captured)

    few = statements()
    for threshold in range(2, 52):
        crossed(limit, threshold, value=value)
    assert statements() == few <= 16


# --- The overview and the usage page ---------------------------------------------------------------------------


def test_the_usage_page_shows_the_weekly_limit_and_no_banner_while_all_is_well(
    owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    limit = set_limit(organization, "100", window=LimitWindow.ROLLING_7D, is_plan=True)
    set_limit(organization, "10", window=LimitWindow.CALENDAR_DAY)
    send({"cost_usd": "4"}, now=utc_now())
    page = text(sign_in(owner), USAGE)
    assert "ct-banner" not in page
    assert "$4.00</strong> of $100.00" in page
    assert "Pauses at $100.00" in page
    assert reverse("admin:billing_spendlimit_change", args=[limit.pk]) in page


def test_one_line_warns_of_limits_that_are_near_reached_or_paused(
    limit: SpendLimit, viewer: User, owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    of_users = set_limit(organization, "1", LimitScope.USER, window=LimitWindow.CALENDAR_DAY)
    of_tag = set_limit(organization, "50", LimitScope.TAG, "a", window=LimitWindow.CALENDAR_WEEK)
    send({"user_id": "ada", "cost_usd": "8"}, {"user_id": "brin", "cost_usd": "1"}, now=utc_now())
    for user in ("ada", "brin"):
        crossed(of_users, PAUSING, value=user, at=utc_now())
    actor = Principal(user=owner)
    pause_limit(
        organization=organization, limit=of_tag, value="", reason="Audit", ends_at=None, actor=actor, now=utc_now()
    )
    page = text(sign_in(viewer), USAGE)
    assert "4 limits need attention:" in page
    line = page.partition("4 limits need attention:</strong>")[2].partition("</p>")[0]
    assert re.match(
        r" User ada, day \(paused until \w{3} 12 AM\); User brin, day \(paused until \w{3} 12 AM\);"
        r" Tag a, week \(paused manually\); 1 more$",
        line,
    )
    assert page.count('class="ct-banner') == 1
    assert f"/o/acme/admin/billing/spendlimit/?organization={organization.pk}&amp;reached=any" in page


def test_a_single_limit_is_described_in_the_line(
    organization: Organization, owner: User, send: Send, sign_in: SignIn
) -> None:
    limit = set_limit(organization, "10", window=LimitWindow.CALENDAR_DAY)
    send({"cost_usd": "9"}, now=utc_now())
    page = text(sign_in(owner), USAGE)
    assert "<strong>Organization, day.</strong> $9.00 spent of $10.00. $1.00 left." in page
    assert page.count(reverse("admin:billing_spendlimit_change", args=[limit.pk])) == 2


def test_an_operator_sees_the_organization_of_a_limit_and_members_only_their_own(
    limit: SpendLimit,
    operator: User,
    stranger: User,
    send: Send,
    sign_in: SignIn,
) -> None:
    send({"cost_usd": "10"}, now=utc_now())
    assert "Acme Research: Organization, day." in text(sign_in(operator), "/admin/")
    assert "ct-banner" not in text(sign_in(stranger), "/o/globex/admin/usage/")


def test_many_organizations_do_not_make_the_overview_slow(operator: User, sign_in: SignIn) -> None:
    for number in range(30):
        organization = Organization.objects.create(slug=f"org-{number}", name=f"Org {number}")
        set_limit(organization, "10", window=LimitWindow.CALENDAR_DAY)
    browser = sign_in(operator)
    browser.get("/admin/")  # reads the books
    with CaptureQueriesContext(connection) as captured:
        assert browser.get("/admin/").status_code == 200
    assert len(captured) <= 60  # four for each of those that are shown
