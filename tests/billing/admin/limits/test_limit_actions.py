"""Raising, pausing, resuming and removing limits in the admin, and asking for more."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from billing.limits.increases import request_increase
from billing.models import IncreaseRequest, LimitOverride, SpendLimit
from billing.types import IncreaseState, LimitScope, LimitWindow, OverrideKind
from costtrack.clock import utc_now
from organizations.models import AuditEntry, Organization, User
from organizations.principals import Principal
from organizations.types import Role
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import text
from tests.conftest import add_member
from tests.limits import set_limit
from tests.usage import Send

BY_MANAGERS = ("raise_until", "pause", "resume", "remove", "end_override")
UNTIL = {"ends_at_0": "2030-01-01", "ends_at_1": "00:00"}


def url(limit: SpendLimit, action: str, query: str = "") -> str:
    return reverse(f"admin:billing_spendlimit_{action}", args=[limit.pk]) + query


def page_of(limit: SpendLimit) -> str:
    return reverse("admin:billing_spendlimit_change", args=[limit.pk])


def request_page(increase_request: IncreaseRequest, action: str = "change") -> str:
    return reverse(f"admin:billing_increaserequest_{action}", args=[increase_request.pk])


def message(client: Client, path: str, data: dict[str, str]) -> str:
    """The page that follows a form that was sent."""
    response = client.post(path, data, follow=True)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def is_allowed(api: APIClient) -> bool:
    allowed: bool = api.get("/usage/access").json()["allowed"]
    return allowed


@pytest.fixture
def limit(organization: Organization) -> SpendLimit:
    """10 USD a day."""
    return set_limit(organization, "10", window=LimitWindow.CALENDAR_DAY)


# --- By hand ---------------------------------------------------------------------------------------------------


def test_access_is_paused_by_hand_with_a_reason_and_resumed(
    limit: SpendLimit, owner: User, api: APIClient, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    assert "This field is required." in message(browser, url(limit, "pause"), {"reason": " "})
    assert is_allowed(api)

    page = message(browser, url(limit, "pause"), {"reason": "Runaway script"})
    assert "Access is paused manually: Runaway script" in page
    assert url(limit, "pause") not in page
    assert not is_allowed(api)

    assert "Access resumed." in message(browser, url(limit, "resume"), {"reason": "Fixed"})
    assert is_allowed(api)
    actions = [entry.action for entry in AuditEntry.objects.filter(action__startswith="limit.").order_by("id")]
    assert actions == ["limit.paused", "limit.override_ended"]


def test_a_limit_that_is_reached_is_held_open_for_a_while(
    limit: SpendLimit, owner: User, api: APIClient, send: Send, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    assert url(limit, "resume") not in text(browser, page_of(limit))
    send({"cost_usd": "10"}, now=utc_now())
    assert not is_allowed(api)
    assert url(limit, "resume") in text(browser, page_of(limit))

    page = message(browser, url(limit, "resume"), {**UNTIL, "reason": "The launch"})
    assert "Access is allowed manually until" in page
    assert is_allowed(api)


def test_a_limit_is_raised_until_a_time_on_the_organizations_clocks(
    limit: SpendLimit, owner: User, organization: Organization, sign_in: SignIn
) -> None:
    organization.time_zone = "Asia/Kolkata"
    organization.save()
    browser = sign_in(owner)
    assert "Time zone: Asia/Kolkata." in text(browser, url(limit, "raise_until"))
    page = message(browser, url(limit, "raise_until"), {**UNTIL, "amount_usd": "25", "reason": "Launch"})
    assert "of $25.00" in page
    (raised,) = LimitOverride.objects.all()
    assert raised.ends_at is not None
    assert raised.ends_at.isoformat() == "2029-12-31T18:30:00+00:00"


@pytest.mark.parametrize(
    ("field", "value"),
    [("amount_usd", "10"), ("amount_usd", "lots"), ("ends_at_0", "2001-01-01"), ("reason", ""), ("reason", "x" * 256)],
)
def test_a_raise_that_cannot_be_is_refused_beside_the_field(
    field: str, value: str, limit: SpendLimit, owner: User, sign_in: SignIn
) -> None:
    given = {**UNTIL, "amount_usd": "25", "reason": "Launch", field: value}
    response = sign_in(owner).post(url(limit, "raise_until"), given)
    assert list(response.context["form"].errors) == [field.removesuffix("_0")]
    assert not LimitOverride.objects.exists()


def test_what_holds_instead_is_ended(limit: SpendLimit, owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    message(browser, url(limit, "raise_until"), {**UNTIL, "amount_usd": "25", "reason": "Launch"})
    raised = LimitOverride.objects.get()
    end = url(limit, "end_override", f"?override={raised.pk}")
    assert end in text(browser, page_of(limit))
    assert "Launch" in text(browser, end)
    assert "of $10.00" in message(browser, end, {})
    for named in (f"?override={raised.pk}", "?override=x", ""):
        assert "This override has already ended." in message(browser, url(limit, "end_override", named), {})


def test_one_value_of_a_limit_of_each_is_raised_and_paused(
    owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    limit = set_limit(organization, "2", LimitScope.USER, window=LimitWindow.CALENDAR_DAY)
    send({"user_id": "ada", "cost_usd": "1.9"}, now=utc_now())
    browser = sign_in(owner)
    increase_request = text(browser, url(limit, "raise_until", "?value=ada"))
    assert 'value="ada"' in increase_request
    assert "$1.90</strong> of $2.00" in increase_request
    page = message(browser, url(limit, "raise_until"), {**UNTIL, "value": "ada", "amount_usd": "5", "reason": "x"})
    assert "$1.90</strong> of $5.00" in page
    message(browser, url(limit, "pause"), {"value": "ada", "reason": "x"})
    assert "Resume" in text(browser, url(limit, "resume", "?value=ada"))
    message(browser, url(limit, "resume", "?value=ada"), {"value": "ada", "reason": "x"})
    assert [row.kind for row in LimitOverride.objects.filter(ends_at__gt=utc_now())] == [OverrideKind.RAISE]


def test_a_limit_is_removed_and_its_page_stays(limit: SpendLimit, owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    assert "The limit no longer warns or pauses" in text(browser, url(limit, "remove"))
    assert "Limit removed." in message(browser, url(limit, "remove"), {})
    page = text(browser, page_of(limit))
    assert "Removed" in page
    assert all(url(limit, action) not in page for action in BY_MANAGERS)


def test_of_the_plans_limit_only_an_operator_opens_and_raises_it_beyond_the_plan(
    owner: User, operator: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    limit = set_limit(organization, "100", window=LimitWindow.ROLLING_7D, is_plan=True)
    send({"cost_usd": "100"}, now=utc_now())
    page = text(sign_in(owner), page_of(limit))
    assert all(url(limit, action) not in page for action in ("remove", "resume", "raise_until"))
    assert url(limit, "ask") in page
    refused = sign_in(owner).post(url(limit, "resume"), {**UNTIL, "reason": "x"})
    assert "Only operators can open the plan" in refused.content.decode()
    assert "Access resumed." in message(sign_in(operator), url(limit, "resume"), {**UNTIL, "reason": "x"})
    message(sign_in(operator), url(limit, "raise_until"), {**UNTIL, "amount_usd": "150", "reason": "x"})
    assert LimitOverride.objects.filter(amount_usd=150).exists()


@pytest.mark.parametrize("who", ["viewer", "stranger"])
def test_who_may_not_change_the_organization_sees_no_button_and_is_refused(
    who: str, limit: SpendLimit, request: pytest.FixtureRequest, sign_in: SignIn
) -> None:
    browser = sign_in(request.getfixturevalue(who))
    if who == "viewer":
        page = text(browser, page_of(limit))
        assert all(url(limit, action) not in page for action in BY_MANAGERS)
    for action in BY_MANAGERS:
        assert browser.get(url(limit, action)).status_code == 403
        given = {**UNTIL, "amount_usd": "25", "reason": "x"}
        assert browser.post(url(limit, action), given).status_code == 403
    assert not LimitOverride.objects.exists()
    limit.refresh_from_db()
    assert limit.removed_at is None


# --- Asking for more -------------------------------------------------------------------------------------------


@pytest.fixture
def increase_request(limit: SpendLimit, viewer: User, organization: Organization) -> IncreaseRequest:
    """The viewer wants 30 USD, until nobody knows when."""
    return request_increase(
        organization=organization,
        limit=limit,
        value="",
        amount_usd=Decimal(30),
        reason="Reindexing",
        until=None,
        actor=Principal(user=viewer),
        now=utc_now(),
    )


def test_a_viewer_asks_for_more_on_the_limits_page(
    limit: SpendLimit, viewer: User, owner: User, sign_in: SignIn
) -> None:
    browser = sign_in(viewer)
    assert url(limit, "ask") in text(browser, page_of(limit))
    given = {"amount_usd": "30", "until_0": "", "until_1": "", "reason": "Reindexing"}
    assert "Request sent to the owners and admins." in message(browser, url(limit, "ask"), given)
    assert "You already have an open request for this limit" in message(browser, url(limit, "ask"), given)
    too_little = browser.post(url(limit, "ask"), {**given, "amount_usd": "10"})
    assert list(too_little.context["form"].errors) == ["amount_usd"]
    (increase_request,) = IncreaseRequest.objects.all()
    for user in (viewer, owner):
        assert request_page(increase_request) in text(sign_in(user), page_of(limit))


def test_a_stranger_asks_for_nothing(limit: SpendLimit, stranger: User, sign_in: SignIn) -> None:
    assert sign_in(stranger).get(url(limit, "ask")).status_code == 403


def test_an_owner_grants_it_until_a_date(
    increase_request: IncreaseRequest, limit: SpendLimit, owner: User, api: APIClient, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    given = {"amount_usd": "20", "until_0": "2030-01-01", "until_1": "00:00", "answer": "Good luck"}
    no_date = browser.post(request_page(increase_request, "grant"), {**given, "until_0": "", "until_1": ""})
    assert list(no_date.context["form"].errors) == ["until"]
    page = message(browser, request_page(increase_request, "grant"), given)
    assert "Request approved." in page
    assert "Good luck" in page
    assert request_page(increase_request, "grant") not in page
    assert api.get("/usage/limits").json()["limits"][0]["amount_usd"] == "20"


def test_an_owner_declines_it_and_says_why(increase_request: IncreaseRequest, owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    missing = browser.post(request_page(increase_request, "decline"), {"answer": ""})
    assert list(missing.context["form"].errors) == ["answer"]
    assert "Request declined." in message(browser, request_page(increase_request, "decline"), {"answer": "Next week"})
    increase_request.refresh_from_db()
    assert (increase_request.state, increase_request.answer) == (IncreaseState.DECLINED, "Next week")
    listed = text(browser, "/admin/billing/increaserequest/")
    assert "Reindexing" in listed
    assert "Declined" in listed


@pytest.mark.parametrize("who", ["viewer", "stranger"])
def test_only_those_who_may_change_limits_answer(
    who: str, increase_request: IncreaseRequest, request: pytest.FixtureRequest, sign_in: SignIn
) -> None:
    browser = sign_in(request.getfixturevalue(who))
    if who != "stranger":
        page = text(browser, request_page(increase_request))
        assert "Only an owner or admin of the organization can answer this request." in page
        assert request_page(increase_request, "grant") not in page
    for action in ("grant", "decline"):
        given = {"amount_usd": "20", "until_0": "2030-01-01", "until_1": "00:00", "answer": "x"}
        assert browser.post(request_page(increase_request, action), given).status_code == 403
    increase_request.refresh_from_db()
    assert increase_request.state == IncreaseState.OPEN


def test_an_admin_answers(increase_request: IncreaseRequest, organization: Organization, sign_in: SignIn) -> None:
    browser = sign_in(add_member(organization, "admin@acme.example", Role.ADMIN))
    assert request_page(increase_request, "grant") in text(browser, request_page(increase_request))
    assert "Request declined." in message(browser, request_page(increase_request, "decline"), {"answer": "Next week"})


def test_other_organizations_requests_are_not_there(
    increase_request: IncreaseRequest, stranger: User, operator: User, sign_in: SignIn
) -> None:
    assert "Reindexing" not in text(sign_in(stranger), "/admin/billing/increaserequest/")
    response = sign_in(stranger).get(request_page(increase_request), follow=True)
    assert response.redirect_chain[0][0] == "/admin/"
    assert request_page(increase_request, "grant") in text(sign_in(operator), request_page(increase_request))


def test_a_request_about_a_removed_limit_can_still_be_read(
    increase_request: IncreaseRequest, limit: SpendLimit, owner: User, sign_in: SignIn
) -> None:
    message(sign_in(owner), url(limit, "remove"), {})
    assert "Reindexing" in text(sign_in(owner), request_page(increase_request))
    until = (utc_now() + timedelta(days=1)).date().isoformat()
    given = {"amount_usd": "20", "until_0": until, "until_1": "00:00", "answer": ""}
    refused = sign_in(owner).post(request_page(increase_request, "grant"), given)
    assert "Decline the request" in refused.content.decode()
