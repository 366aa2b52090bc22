"""Statements that take too long are canceled, and the request is answered with 503 in its family's form."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.test import APIClient

from billing.exports.table_files import INCOMPLETE
from costtrack.tenancy import owner_scope, tenant_reads, tenant_scope
from costtrack.timeouts import is_query_timeout, statement_timeout
from organizations.models import Organization, User

pytestmark = pytest.mark.django_db(transaction=True)

TIMEOUT = 0.3  # on a busy machine other statements of a request need a part of it
MESSAGE = "The query took too long and was canceled. Try again, or request a shorter period."


def in_force() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        (value,) = cursor.fetchone()
    return str(value)


def sleep(*_: Any, **__: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Callable[[str], None]:
    """Make a function of the product ask the database for something that takes a minute."""

    def make_slow(name: str) -> None:
        monkeypatch.setattr(name, sleep)

    settings.STATEMENT_TIMEOUT = settings.EXPORT_STATEMENT_TIMEOUT = TIMEOUT
    return make_slow


def test_a_limit_holds_inside_and_nowhere_else() -> None:
    assert in_force() == "0"
    with statement_timeout(30):
        assert in_force() == "30s"
    assert in_force() == "0"


def test_an_inner_limit_replaces_the_outer_one_until_it_ends() -> None:
    with statement_timeout(30):
        with statement_timeout(300):
            assert in_force() == "5min"
        assert in_force() == "30s"
        with statement_timeout(0):
            assert in_force() == "0"


def test_limits_hold_in_a_transaction_that_is_open() -> None:
    with statement_timeout(30), transaction.atomic():
        assert in_force() == "30s"
        with statement_timeout(300), transaction.atomic():
            assert in_force() == "5min"
        assert in_force() == "30s"


def test_limits_hold_in_every_scope(organization: Organization) -> None:
    with statement_timeout(30):
        for scope in (tenant_scope(organization.pk), tenant_reads(organization.pk), owner_scope()):
            with scope:
                assert in_force() == "30s"
                assert in_force() == "30s"


def test_a_limit_ends_with_its_transaction() -> None:
    with statement_timeout(30), transaction.atomic():
        assert in_force() == "30s"
    with transaction.atomic():
        assert in_force() == "0"


@pytest.mark.parametrize("around", [nullcontext, transaction.atomic])
def test_a_statement_that_takes_too_long_is_canceled_and_the_connection_stays_usable(around: Callable[[], Any]) -> None:
    with statement_timeout(TIMEOUT):
        with pytest.raises(OperationalError) as caught, around():
            sleep()
        assert is_query_timeout(caught.value)
    assert in_force() == "0"


def test_a_savepoint_is_rolled_back_after_an_inner_limit() -> None:
    with statement_timeout(30), transaction.atomic():
        with pytest.raises(OperationalError), transaction.atomic(), statement_timeout(TIMEOUT):
            sleep()
        assert in_force() == "30s"


def test_other_errors_of_the_database_are_no_timeouts() -> None:
    assert not is_query_timeout(OperationalError("the server closed the connection"))
    assert not is_query_timeout(None)


@pytest.mark.parametrize(
    ("path", "function", "body"),
    [
        (
            "/usage/requests",
            "billing.api.usage.requests.list_calls",
            {"error": MESSAGE, "code": "query_timeout"},
        ),
        ("/usage/events", "billing.api.usage.events.list_events", {"error": MESSAGE, "code": "query_timeout"}),
        ("/organizations/acme", "organizations.api.base.access_to", {"error": MESSAGE, "code": "query_timeout"}),
        ("/costs/summary", "billing.api.costs.summary.get_session_summary", {"detail": MESSAGE}),
        (
            "/spend/logs",
            "billing.api.spend.spend_logs.newest_rows",
            {"error": {"message": MESSAGE, "type": "internal_server_error", "param": None, "code": "503"}},
        ),
    ],
)
def test_each_family_says_so_in_its_form(
    api: APIClient,
    slow: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
    path: str,
    function: str,
    body: dict[str, Any],
) -> None:
    slow(function)
    response = api.get(path)
    assert response.status_code == 503
    assert response.json() == body
    assert response.headers["Retry-After"] == "5"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (record.levelname, record.getMessage()) == ("WARNING", "query canceled, it took too long")
    assert (record.method, record.exc_info) == ("GET", None)  # type: ignore[attr-defined]
    assert record.route.startswith(path[:6])  # type: ignore[attr-defined]


def test_an_export_has_a_limit_of_its_own(api: APIClient) -> None:
    Organization.objects.update(plan="enterprise")
    with CaptureQueriesContext(connection) as captured:
        assert api.post("/system/export", {}).status_code == 200
    (page,) = (query["sql"] for query in captured if "WITH page AS" in query["sql"])
    assert "SET LOCAL statement_timeout = 300000;" in page
    others = [query["sql"] for query in captured if query["sql"] != page]
    assert all("SET LOCAL statement_timeout = 30000;" in sql for sql in others if "SELECT" in sql)
    assert others


def test_what_was_written_before_is_rolled_back(
    api: APIClient, organization: Organization, slow: Callable[[str], None]
) -> None:
    slow("organizations.services.organizations.audit.record")
    response = api.patch("/organizations/acme", {"name": "Other"})
    assert response.status_code == 503
    organization.refresh_from_db()
    assert organization.name == "Acme Research"


@pytest.mark.parametrize("user_fixture", ["owner", "operator"])
def test_a_page_says_so_to_people(
    client: Client,
    request: pytest.FixtureRequest,
    slow: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
    user_fixture: str,
) -> None:
    request.getfixturevalue("owner")
    client.force_login(request.getfixturevalue(user_fixture))
    slow("billing.admin.dashboard.request_log.request_log_page.list_calls")
    response = client.get("/o/acme/admin/requests/")
    assert response.status_code == 503
    assert "<h1>The request took too long</h1>" in response.content.decode()
    assert response.headers["Retry-After"] == "5"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (record.levelname, record.route) == ("WARNING", "/admin/requests/")  # type: ignore[attr-defined]
    assert client.get("/o/acme/admin/runs/").status_code == 200


def test_a_query_timeout_in_a_middleware_is_a_503_too(client: Client, owner: User, slow: Callable[[str], None]) -> None:
    client.force_login(owner)
    client.raise_request_exception = False
    slow("organizations.middleware._resolve_organization")
    response = client.get("/o/acme/admin/requests/")
    assert response.status_code == 503
    assert "<h1>The request took too long</h1>" in response.content.decode()


def test_a_stream_that_has_begun_says_that_it_is_incomplete(
    api: APIClient, slow: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    Organization.objects.update(plan="enterprise")
    slow("billing.exports.usage_files.list_calls")
    response: Any = api.get("/usage/export?rows=requests")
    assert response.status_code == 200
    *_, last = b"".join(response.streaming_content).decode().splitlines()
    assert last == f'"{INCOMPLETE}"'
    assert [
        (warning.levelname, warning.getMessage()) for warning in caplog.records if warning.levelno >= logging.WARNING
    ] == [("WARNING", "query canceled, it took too long")]


def test_a_stream_that_fails_otherwise_says_so_too(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    Organization.objects.update(plan="enterprise")
    monkeypatch.setattr("billing.exports.usage_files.list_calls", None)
    response: Any = api.get("/usage/export?rows=requests")
    pieces = iter(response.streaming_content)
    assert next(pieces).startswith(b"time,id,")
    assert next(pieces).decode() == f'"{INCOMPLETE}"\r\n'
    with pytest.raises(TypeError):
        next(pieces)
