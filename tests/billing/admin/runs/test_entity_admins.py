"""The admin's lists of sessions, executions and generation groups, which lead to the pages about them."""

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.models import Session
from billing.rollups.fold import fold
from organizations.models import Membership, Organization, User
from tests.billing.admin.conftest import SignIn
from tests.usage import NOW, Send

pytestmark = pytest.mark.django_db

LISTS = ("session", "execution", "generationgroup")


def event(number: int, **fields: str) -> dict[str, str]:
    names = {"session_id": f"s-{number}", "execution_id": f"e-{number}", "group_id": f"g-{number}"}
    return {**names, "occurred_at": f"2026-11-01T0{number}:00:00Z", "cost_usd": "1", **fields}


@pytest.fixture
def usage(send: Send, other_organization: Organization) -> None:
    """Three of each in Acme, and one of each with the id of one of them in Globex."""
    send(event(1, workflow_id="etl", group_name="Nightly"), event(2), event(3, execution_id="e-2"))
    send(event(1, workflow_id="theirs", group_name="Theirs"), to=other_organization)
    fold(now=NOW)


def ids(browser: Client, model: str, **query: str) -> list[str]:
    return [row.pk for row in browser.get(f"/admin/billing/{model}/", query).context["cl"].result_list]


@pytest.mark.usefixtures("usage")
def test_each_list_has_the_newest_first(owner: User, viewer: User, sign_in: SignIn) -> None:
    for user in (owner, viewer):
        browser = sign_in(user)
        assert ids(browser, "session") == ["s-3", "s-2", "s-1"]
        assert ids(browser, "execution") == ["e-2", "e-1"]
        assert ids(browser, "generationgroup") == ["g-3", "g-2", "g-1"]


@pytest.mark.usefixtures("usage")
def test_a_stranger_sees_the_rows_of_the_other_organization(stranger: User, sign_in: SignIn) -> None:
    browser = sign_in(stranger)
    for model, name in zip(LISTS, ("s-1", "e-1", "g-1"), strict=True):
        assert ids(browser, model) == [name]
        response = browser.get(f"/admin/billing/{model}/{name.replace('1', '2')}/change/")
        assert response.status_code == 302
        assert response["Location"] == reverse("admin:index")
    assert "etl" not in browser.get("/admin/billing/session/").content.decode()


@pytest.mark.usefixtures("usage")
def test_rows_lead_to_the_pages_of_the_dashboard(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    group_page = "/o/acme/admin/pricing/?search=g-1&start_date=2026-11-01&end_date=2026-11-01"
    for model, name, url in (
        ("session", "s-1", "/o/acme/admin/sessions/s/s-1/"),
        ("execution", "e-1", "/o/acme/admin/executions/e-1/"),
        ("generationgroup", "g-1", group_page),
    ):
        page = browser.get(f"/admin/billing/{model}/").content.decode()
        assert url.replace("&", "&amp;") in page
        response = browser.get(f"/admin/billing/{model}/{name}/change/")
        assert response.status_code == 302
        assert response["Location"].endswith(url)
        assert browser.get(response["Location"]).status_code == 200


@pytest.mark.usefixtures("usage")
def test_a_row_is_found_by_its_complete_id_and_by_filters(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    for model, name in zip(LISTS, ("s-1", "e-1", "g-1"), strict=True):
        assert ids(browser, model, q=f" {name} ") == [name]
        assert ids(browser, model, q=name[:2]) == []
        assert browser.get(f"/admin/billing/{model}/", {"q": "\0"}).status_code == 200
    assert ids(browser, "session", execution="e-2") == ["s-3", "s-2"]
    assert ids(browser, "generationgroup", name="Nightly") == ["g-1"]


@pytest.mark.usefixtures("usage")
def test_the_same_id_in_two_organizations_is_two_rows(
    owner: User, other_organization: Organization, sign_in: SignIn
) -> None:
    Membership.objects.create(user=owner, organization=other_organization, role="viewer")
    browser = sign_in(owner)
    assert ids(browser, "session", organization=str(other_organization.pk)) == ["s-1"]
    assert ids(browser, "session") == ["s-3", "s-2", "s-1"]
    assert browser.get("/admin/billing/session/s-1/change/")["Location"].endswith("/o/acme/admin/sessions/s/s-1/")


@pytest.mark.usefixtures("usage")
def test_a_session_with_dropped_events_is_one_row(owner: User, organization: Organization, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    row = Session.objects.of(organization).get(session_id="s-2")
    row.archived = True
    Session.objects.bulk_create([row])
    Session.objects.of(organization).filter(session_id="s-3").update(archived=True)
    assert ids(browser, "session") == ["s-3", "s-2", "s-1"]


@pytest.mark.usefixtures("usage")
def test_a_list_takes_the_same_few_statements(
    owner: User, sign_in: SignIn, send: Send, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    browser = sign_in(owner)
    send(*(event(number) for number in range(4, 10)))
    fold(now=NOW)
    for model in LISTS:
        with django_assert_max_num_queries(12):
            assert len(ids(browser, model)) >= 8


def test_no_user_changes_them(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    for model in LISTS:
        assert browser.get(f"/admin/billing/{model}/add/").status_code == 403
