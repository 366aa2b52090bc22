"""The admin's pages of authorizations, and of the events that settled them."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.test import APIClient

from billing.admin.limits import authorization_admin
from billing.limits.authorize import release
from billing.models import Authorization, UsageEvent
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import text
from tests.limits import take

LIST = "/admin/billing/authorization/"


def page_of(authorization: Authorization) -> str:
    return reverse("admin:billing_authorization_change", args=[authorization.pk])


def taken(organization: Organization, amount_usd: str = "0.25", **dimensions: object) -> Authorization:
    return take(organization, amount_usd, **dimensions).authorization  # type: ignore[arg-type]  # of all kinds


def rows(client: Client, **query: str) -> list[Authorization]:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return list(response.context["cl"].result_list)


def test_members_see_their_organizations_authorizations_newest_first(
    owner: User,
    viewer: User,
    stranger: User,
    organization: Organization,
    other_organization: Organization,
    sign_in: SignIn,
) -> None:
    first, second = taken(organization), taken(organization)
    theirs = taken(other_organization)
    assert rows(sign_in(owner)) == rows(sign_in(viewer)) == [second, first]
    assert rows(sign_in(stranger)) == [theirs]
    response = sign_in(owner).get(page_of(theirs), follow=True)
    assert response.redirect_chain[0][0] == "/admin/"


def test_a_page_shows_what_was_reserved_for_which_call(
    owner: User, organization: Organization, sign_in: SignIn
) -> None:
    authorization = taken(organization, "0.25", model="gpt-5", user_ref="ada", run_id="nightly", tags=("a", "b"))
    page = text(sign_in(owner), page_of(authorization))
    for shown in (
        "$0.25<",
        "Reserved",
        "Reserved from every limit that covers the call",
        "gpt-5",
        "ada",
        "nightly",
        "a, b",
    ):
        assert shown in page
    assert 'name="_save"' not in page


def test_it_is_over_when_its_time_is(owner: User, organization: Organization, sign_in: SignIn) -> None:
    early = utc_now() - timedelta(hours=1)
    authorization = take(organization, "0.25", now=early).authorization
    for path in (LIST, page_of(authorization)):
        assert "Expired" in text(sign_in(owner), path)
    released = taken(organization)
    release(organization=organization, authorization_id=released.pk, now=utc_now())
    assert "Released before" in text(sign_in(owner), page_of(released))


def test_an_authorization_and_the_event_that_settled_it_lead_to_each_other(
    owner: User, organization: Organization, api: APIClient, sign_in: SignIn
) -> None:
    authorization = taken(organization)
    api.post("/usage/events", [{"cost_usd": "0.125", "id": "settles", "authorization_id": str(authorization.pk)}])
    event = UsageEvent.objects.get()
    event_page = reverse("admin:billing_usageevent_change", args=[event.pk])
    browser = sign_in(owner)
    page = text(browser, page_of(authorization))
    assert "which cost $0.125." in page
    assert event_page in page
    assert page_of(authorization) in text(browser, event_page)


def test_filters_and_search_find_them(owner: User, organization: Organization, sign_in: SignIn) -> None:
    reserved = take(organization, "0.25", key="once").authorization
    released = taken(organization)
    release(organization=organization, authorization_id=released.pk, now=utc_now())
    browser = sign_in(owner)
    assert (
        rows(browser, status="reserved") == rows(browser, q="once") == rows(browser, q=str(reserved.pk)) == [reserved]
    )
    assert rows(browser, status="released") == [released]
    assert rows(browser, status="nonsense") == [released, reserved]
    assert rows(browser, when_to="2001-01-01") == rows(browser, q="nothing") == []


def test_what_has_no_index_is_looked_for_among_the_newest(
    owner: User, organization: Organization, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorization_admin, "MAX_SEARCHED", 2)
    old = taken(organization)
    release(organization=organization, authorization_id=old.pk, now=utc_now())
    taken(organization)
    taken(organization)
    browser = sign_in(owner)
    assert rows(browser, status="released") == []
    assert "Searched the newest 2 authorizations" in text(browser, LIST, status="released")
    assert len(rows(browser, status="reserved")) == 2


@pytest.mark.parametrize("who", ["owner", "operator"])
def test_the_list_takes_the_same_few_statements_and_counts_to_a_cap(
    who: str, request: pytest.FixtureRequest, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(request.getfixturevalue(who))

    def statements() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(LIST).status_code == 200
        return [query["sql"] for query in captured]

    taken(organization)
    few = statements()
    for _ in range(60):
        taken(organization)
    many = statements()
    assert len(few) == len(many) <= 16
    assert all("COUNT(" not in sql or "LIMIT" in sql for sql in many)


def test_the_empty_list_says_how_to_ask(viewer: User, sign_in: SignIn) -> None:
    for page in (LIST, f"/o/acme{LIST}"):
        assert "http://testserver/usage/authorizations" in text(sign_in(viewer), page)
