"""The admin's pages of spend limits: whose they are, and how each stands."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.test import APIClient

from billing.limits.services import pause_limit, raise_limit
from billing.models import SpendLimit
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.clock import utc_now
from organizations.models import Membership, Organization, User
from organizations.principals import Principal
from organizations.types import Role
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import text
from tests.limits import set_limit, take
from tests.usage import Send

LIST = "/admin/billing/spendlimit/"


def page_of(limit: SpendLimit) -> str:
    return reverse("admin:billing_spendlimit_change", args=[limit.pk])


def rows(client: Client, **query: str | int) -> list[int]:
    """The ids of the limits that the list shows."""
    response = client.get(LIST, query)
    assert response.status_code == 200
    return [limit.pk for limit in response.context["cl"].result_list]


@pytest.fixture
def limit(organization: Organization) -> SpendLimit:
    """10 USD a day."""
    return set_limit(organization, "10", window=LimitWindow.CALENDAR_DAY)


# --- Whose limits ----------------------------------------------------------------------------------------------


def test_members_see_their_organizations_limits(
    limit: SpendLimit,
    owner: User,
    viewer: User,
    stranger: User,
    operator: User,
    other_organization: Organization,
    sign_in: SignIn,
) -> None:
    theirs = set_limit(other_organization, "5")
    assert rows(sign_in(owner)) == rows(sign_in(viewer)) == rows(sign_in(operator)) == [limit.pk]
    assert rows(sign_in(stranger)) == rows(sign_in(operator), organization=other_organization.pk) == [theirs.pk]
    for foreign in (page_of(theirs), f"{LIST}999999/change/"):
        response = sign_in(owner).get(foreign, follow=True)
        assert response.redirect_chain[0][0] == "/admin/"
        assert "$5.00" not in response.content.decode()


def test_a_member_of_two_organizations_chooses_among_them(
    limit: SpendLimit, owner: User, other_organization: Organization, sign_in: SignIn
) -> None:
    theirs = set_limit(other_organization, "5")
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    browser = sign_in(owner)
    assert rows(browser) == [limit.pk]
    assert rows(browser, organization=other_organization.pk) == [theirs.pk]
    assert 'name="amount_usd"' in text(browser, page_of(limit))
    assert 'name="amount_usd"' not in text(browser, page_of(theirs))
    page = text(browser, "/admin/")
    assert page_of(limit) in page
    assert page_of(theirs) in page


# --- How they stand --------------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_api(
    limit: SpendLimit, owner: User, organization: Organization, api: APIClient, send: Send, sign_in: SignIn
) -> None:
    send({"cost_usd": "8.25"}, now=utc_now())
    take(organization, "0.5")
    (answer,) = api.get("/usage/limits").json()["limits"]
    assert (answer["spent_usd"], answer["reserved_usd"], answer["remaining_usd"]) == ("8.25", "0.5", "1.25")

    page = text(sign_in(owner), page_of(limit))
    for figure in ("$8.25<", "$0.50<", "$1.25<"):
        assert figure in page
    assert "Near the limit" in page
    assert "$8.25 spent and $0.50 reserved of $10.00" in page
    listed = text(sign_in(owner), LIST)
    assert 'aria-valuenow="82"' in listed
    assert "82%, $0.50 reserved" in listed


@pytest.mark.parametrize(
    ("spent", "action", "badge", "sentence"),
    [
        ("1", LimitAction.PAUSE, "OK", "$9.00 left. Access is paused at the limit."),
        ("8", LimitAction.PAUSE, "Near the limit", "$2.00 left. Access is paused at the limit."),
        ("10", LimitAction.PAUSE, "Paused", "Access is paused. It resumes in "),
        ("10", LimitAction.NOTIFY, "Over the limit", "This limit only sends notifications; access continues."),
    ],
)
def test_the_state_is_said_in_words(
    spent: str,
    action: LimitAction,
    badge: str,
    sentence: str,
    viewer: User,
    organization: Organization,
    send: Send,
    sign_in: SignIn,
) -> None:
    limit = set_limit(organization, "10", window=LimitWindow.CALENDAR_DAY, action=action.value)
    send({"cost_usd": spent}, now=utc_now())
    browser = sign_in(viewer)
    assert sentence in text(browser, page_of(limit))
    for path in (LIST, page_of(limit)):
        assert re.search(rf">\s*{badge}\s*</span>", browser.get(path).content.decode())


def test_times_are_those_of_the_organizations_clocks(owner: User, organization: Organization, sign_in: SignIn) -> None:
    organization.time_zone = "Asia/Kolkata"
    organization.save()
    limit = set_limit(organization, "10", window=LimitWindow.CALENDAR_MONTH)
    assert " 1, 2026, 12:00 AM" in text(sign_in(owner), page_of(limit))


def test_a_limit_of_each_shows_the_worst_value(
    owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    limit = set_limit(organization, "2", LimitScope.USER, window=LimitWindow.CALENDAR_DAY)
    browser = sign_in(owner)
    assert "Nothing spent" in text(browser, LIST)
    send(*({"user_id": name, "cost_usd": cost} for name, cost in (("ada", "1"), ("brin", "2.5"))), now=utc_now())
    listed = text(browser, LIST)
    assert "<small>brin</small>" in listed
    assert "$2.50</strong> of $2.00" in listed
    page = text(browser, page_of(limit))
    assert page.index(">brin<") < page.index(">ada<")

    actor = Principal(user=owner)
    pause_limit(
        organization=organization, limit=limit, value="cleo", reason="test", ends_at=None, actor=actor, now=utc_now()
    )
    assert "Paused manually" in text(browser, page_of(limit))
    assert ">cleo<" in text(browser, page_of(limit))


def test_a_credential_is_shown_by_its_client_id(
    owner: User, organization: Organization, api: APIClient, sign_in: SignIn
) -> None:
    client_id = organization.credentials.get().client_id
    limits = [
        set_limit(organization, "5", LimitScope.CREDENTIAL, value, window=LimitWindow.CALENDAR_DAY)
        for value in ("", client_id)
    ]
    api.post("/usage/events", {"cost_usd": "4.5"})
    for limit in limits:
        page = text(sign_in(owner), page_of(limit))
        assert client_id in page
        assert "$4.50" in page


def test_what_does_not_hold_now_says_so(owner: User, organization: Organization, sign_in: SignIn) -> None:
    now = utc_now()
    later = set_limit(organization, "1", starts_at=now + timedelta(days=1))
    ended = set_limit(organization, "2", ends_at=now - timedelta(days=1))
    removed = set_limit(organization, "3", removed_at=now)
    browser = sign_in(owner)
    assert rows(browser) == [later.pk, ended.pk]
    for query, expected in (("now", []), ("later", [later.pk]), ("ended", [ended.pk]), ("removed", [removed.pk])):
        assert rows(browser, time=query) == expected, query
    for limit, word in ((later, "Begins later"), (ended, "Ended"), (removed, "Removed")):
        assert word in text(browser, page_of(limit))
    assert 'name="_save"' not in text(browser, page_of(removed))


def test_filters_narrow_the_list(organization: Organization, owner: User, sign_in: SignIn) -> None:
    day = set_limit(organization, "1", window=LimitWindow.CALENDAR_DAY)
    user = set_limit(organization, "1", LimitScope.USER, window=LimitWindow.CALENDAR_WEEK)
    browser = sign_in(owner)
    assert rows(browser, scope="user") == rows(browser, window="calendar_week") == [user.pk]
    assert rows(browser, scope="nonsense", time="nonsense", reached="nonsense") == [day.pk, user.pk]
    assert rows(browser, reached="none") == [day.pk, user.pk]
    assert rows(browser, reached="any") == rows(browser, reached="whole") == []


@pytest.mark.parametrize("who", ["owner", "operator"])
def test_the_list_takes_the_same_few_statements_however_many_limits_and_events_there_are(
    who: str, request: pytest.FixtureRequest, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    browser = sign_in(request.getfixturevalue(who))

    def statements() -> int:
        browser.get(LIST)  # reads the changed book
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(LIST).status_code == 200
        return len(captured)

    set_limit(organization, "1", window=LimitWindow.CALENDAR_DAY)
    set_limit(organization, "1", LimitScope.USER, window=LimitWindow.CALENDAR_DAY)
    send({"user_id": "ada", "cost_usd": "0.5"}, now=utc_now())
    few = statements()
    for value in range(12):
        set_limit(organization, "1", LimitScope.TAG, f"tag-{value}", window=LimitWindow.CALENDAR_DAY)
        set_limit(organization, "1", LimitScope.RUN, window=LimitWindow.CALENDAR_DAY)
    send(*({"user_id": f"u-{n}", "run_id": f"r-{n}", "cost_usd": "0.5"} for n in range(100)), now=utc_now())
    assert statements() == few <= 20


@pytest.mark.parametrize("scope", [LimitScope.ORGANIZATION, LimitScope.USER])
def test_a_limits_page_takes_the_same_few_statements_however_many_events_there_are(
    scope: LimitScope, owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    limit = set_limit(organization, "1", scope, window=LimitWindow.CALENDAR_DAY)
    browser = sign_in(owner)

    def statements() -> int:
        browser.get(page_of(limit))  # reads the changed book
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(page_of(limit)).status_code == 200
        return len(captured)

    send({"user_id": "ada", "cost_usd": "0.5"}, now=utc_now())
    few = statements()
    send(*({"user_id": f"u-{n}", "cost_usd": "0.002"} for n in range(100)), now=utc_now())
    assert statements() == few <= 32


def test_a_raise_is_shown_with_what_holds_without_it(
    limit: SpendLimit, owner: User, organization: Organization, sign_in: SignIn
) -> None:
    raise_limit(
        organization=organization,
        limit=limit,
        value="",
        amount_usd=Decimal(25),
        ends_at=utc_now() + timedelta(days=2),
        reason="Launch week",
        actor=Principal(user=owner),
        now=utc_now(),
    )
    page = text(sign_in(owner), page_of(limit))
    for shown in ("of $25.00", "Amount without the raise", "Raised to $25.00", f"Launch week ({owner.email})"):
        assert shown in page
