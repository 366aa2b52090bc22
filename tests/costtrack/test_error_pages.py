"""Errors that no view answers: JSON for programs, a page for people."""

import pytest
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.test import Client, RequestFactory
from psycopg.errors import QueryCanceled

from costtrack import error_pages
from organizations.models import Organization, User


def test_an_unknown_path_is_a_404_in_json(client: Client) -> None:
    response = client.get("/nothing/here")
    assert response.status_code == 404
    assert response.json() == {"error": "Not found.", "code": "not_found"}


def test_an_unknown_host_is_a_400_in_json(client: Client) -> None:
    response = client.get("/nothing", headers={"host": "evil.example"})
    assert response.status_code == 400
    assert response.json()["code"] == "bad_request"


@pytest.mark.parametrize(("path", "is_json"), [("/usage/x", True), ("/admin/x", False)])
def test_an_unexpected_error_is_json_outside_of_the_admin(path: str, is_json: bool) -> None:  # noqa: FBT001
    request = RequestFactory().get(path)
    for response, status in (
        (error_pages.server_error(request), 500),
        (error_pages.permission_denied(request, Exception()), 403),
        (error_pages.bad_request(request, Exception()), 400),
        (error_pages.page_not_found(request, Exception()), 404),
    ):
        assert response.status_code == status
        assert (response.headers["Content-Type"] == "application/json") is is_json


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/nothing", "/account/nothing", "/o/acme/nothing"])
def test_a_browser_gets_a_page_that_leads_on(client: Client, path: str) -> None:
    response = client.get(path, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert response.status_code == 404
    assert "<h1>Page not found</h1>" in response.content.decode()
    assert 'href="/admin/"' in response.content.decode()
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/o/acme/admin/nothing/", "/o/globex/admin/usage/", "/admin/nothing/"])
def test_a_member_who_is_lost_gets_a_page_that_leads_on(
    client: Client, owner: User, other_organization: Organization, path: str
) -> None:
    client.force_login(owner)
    response = client.get(path)
    assert response.status_code == 404
    assert "<h1>Page not found</h1>" in response.content.decode()
    assert 'href="/admin/"' in response.content.decode()


def test_the_page_of_an_error_needs_nothing_that_may_be_broken() -> None:
    """No database (this test has none), nobody signed in, no template of the theme."""
    response = error_pages.server_error(RequestFactory().get("/admin/x"))
    assert isinstance(response, HttpResponse)
    assert "<h1>Something went wrong on our side</h1>" in response.content.decode()


def test_what_begins_like_a_familys_paths_is_answered_in_its_dialect(client: Client) -> None:
    assert client.get("/costs/nothing").json() == {"detail": "Not found."}
    assert client.get("/usage/nothing").json() == {"error": "Not found.", "code": "not_found"}


@pytest.mark.parametrize("error", [OperationalError("the connection is closed"), InterfaceError("closed")])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/usage/x", b'{"error": "The database is unavailable. Try again.", "code": "unavailable"}'),
        ("/costs/x", b'{"detail": "The database is unavailable. Try again."}'),
        ("/admin/x", b"<h1>The database is unavailable</h1>"),
    ],
)
def test_a_database_that_fails_outside_of_a_view_is_a_503_that_may_be_repeated(
    error: Exception, path: str, expected: bytes
) -> None:
    try:
        raise error
    except (OperationalError, InterfaceError):
        response = error_pages.server_error(RequestFactory().get(path))
    assert isinstance(response, HttpResponse)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert expected in response.content


def test_a_canceled_query_outside_of_a_view_says_so() -> None:
    error = OperationalError()
    error.__cause__ = QueryCanceled()
    try:
        raise error
    except OperationalError:
        response = error_pages.server_error(RequestFactory().get("/admin/x"))
    assert isinstance(response, HttpResponse)
    assert "<h1>The request took too long</h1>" in response.content.decode()
