"""Bills that are fetched by the APIs of providers, from servers on loopback in the documented shapes."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from billing.models import BillConnection, BillDay, BillImport, BillRow
from billing.provider_bills.bill_connections import (
    key_of,
    list_connections,
    remove_connection,
    request_fetch,
    save_connection,
)
from billing.provider_bills.fetching import due_connections, fetch_bills, next_night
from billing.reports.provider_bills import is_closed
from billing.tasks import fetch_bills_task
from billing.types import BillReport, FetchState
from costtrack.errors import ConflictError, InvalidError, NotFoundError
from organizations.models import AuditEntry, Organization
from tests.billing.provider_bills.provider_server import KEY, Failure, ProviderServer, serving

NOW = datetime(2026, 11, 16, 4, 30, tzinfo=UTC)
TODAY = NOW.date()
YESTERDAY = TODAY - timedelta(days=1)
DAYS = 30

Connect = Callable[..., BillConnection]


@pytest.fixture
def provider(settings: Settings) -> Iterator[ProviderServer]:
    settings.WEBHOOK_PRIVATE_ADDRESSES = True  # which the loopback is
    with serving() as server:
        yield server


@pytest.fixture
def connect(db: None, organization: Organization) -> Connect:
    def connect(provider: str = "openai", key: str = KEY, **fields: Any) -> BillConnection:
        saved = save_connection(
            organization=organization, provider=provider, key=key, actor="owner@acme.example", now=NOW, **fields
        )
        return saved.connection

    return connect


def fetch(connection: BillConnection, provider: ProviderServer, now: datetime = NOW) -> BillConnection:
    """Fetch, and return the row as it is afterwards."""
    fetch_bills(connection=connection, clock=lambda: now, apis=provider.apis)
    connection.refresh_from_db()
    return connection


def amounts(report: BillReport, day: date = YESTERDAY) -> list[tuple[str, str, Decimal | None, Decimal | None]]:
    rows = BillRow.objects.filter(report=report.value, day=day).order_by("kind")
    return [(row.key, row.kind, row.quantity, row.amount_usd) for row in rows if row.quantity or row.amount_usd]


@pytest.mark.parametrize(
    ("name", "key", "paths"),
    [
        (
            "openai",
            "key_a",
            ["/organization/costs", "/organization/usage/completions", "/organization/usage/embeddings"],
        ),
        ("anthropic", "wrkspc_a", ["/organizations/cost_report", "/organizations/usage_report/messages"]),
        ("openrouter", "", ["/activity"]),
    ],
)
def test_all_reports_of_a_provider_are_imported(
    connect: Connect, provider: ProviderServer, name: str, key: str, paths: list[str]
) -> None:
    provider.tokens = {YESTERDAY: 2_500_000}
    provider.days_of_page = 20  # so that reports by day have two pages
    row = fetch(connect(name), provider)
    assert (row.state, row.error, row.progress, row.days) == (FetchState.DONE, "", "", DAYS)
    assert row.fetched_at == NOW
    [(cost_key, _, _, amount)] = amounts(BillReport.COSTS)
    [(usage_key, kind, quantity, _)] = amounts(BillReport.USAGE)
    assert (cost_key, usage_key, kind, quantity, amount) == (key, key, "input", 2_500_000, Decimal("2.5"))
    requested = [path for path, _ in provider.requests]
    assert requested == (paths if name == "openrouter" else [path for path in paths for _ in range(2)])
    first = provider.requests[0][1]
    if name == "openai":
        assert first["group_by[]"] == ["line_item", "api_key_id"]
        assert "page_20" in provider.requests[1][1]["page"]
    elif name == "anthropic":
        assert (first["starting_at"], first["ending_at"]) == (["2026-10-18T00:00:00Z"], ["2026-11-17T00:00:00Z"])
    # Days without usage are covered by reports by day: it is known that nothing was billed.
    assert BillDay.objects.filter(day=date(2026, 10, 18)).exists() is (name != "openrouter")


def test_days_close_when_two_nights_agree_and_only_open_days_are_fetched_again(
    connect: Connect, provider: ProviderServer
) -> None:
    provider.tokens = {YESTERDAY: 1_000_000, TODAY - timedelta(days=2): 3_000_000}
    row = fetch(connect(), provider)
    assert row.next_fetch_at == NOW + timedelta(days=1)
    provider.tokens[YESTERDAY] = 1_500_000  # the provider has added to its report
    second = row.next_fetch_at
    assert due_connections(second - timedelta(seconds=1)) == []
    assert due_connections(second) == [row.pk]
    row = fetch(row, provider, second)
    closed = {day.day for day in BillDay.objects.all() if is_closed(day)}
    assert closed == {TODAY - timedelta(days=number) for number in range(2, DAYS)}
    provider.requests.clear()
    row = fetch(row, provider, second + timedelta(days=1))
    assert row.days == 4
    assert provider.requests[0][1]["start_time"] == [str(int(datetime(2026, 11, 15, tzinfo=UTC).timestamp()))]
    assert is_closed(BillDay.objects.get(day=YESTERDAY, report=BillReport.COSTS.value))


@pytest.mark.parametrize(
    ("failure", "error", "state", "is_stopped"),
    [
        (Failure(401), "The provider refuses the key (401). Enter a valid one.", FetchState.FAILED, True),
        (Failure(403), "The key may not read reports (403). It must be an admin key.", FetchState.FAILED, True),
        (Failure(429), "The provider's rate limit is reached (429).", FetchState.RETRYING, False),
        (Failure(503), "The provider's server has an error (503).", FetchState.RETRYING, False),
        (
            Failure(400, f'{{"error": "bad {KEY}"}}'.encode()),
            'The provider answered 400: {"error": "bad ***"}',
            FetchState.FAILED,
            False,
        ),
        (
            Failure(302, headers={"Location": "http://127.0.0.1/"}),
            "The provider answered 302: {}",
            FetchState.FAILED,
            False,
        ),
        (Failure(200, b"<html>"), "OpenAI usage: The response is not JSON.", FetchState.FAILED, False),
        (
            Failure(200, b"[]"),
            "OpenAI usage: The response is not a report: it has no list named data.",
            FetchState.FAILED,
            False,
        ),
        (
            Failure(200, b'{"data": [], "has_more": true}'),
            "OpenAI usage: The response has more pages, but does not name the next one.",
            FetchState.FAILED,
            False,
        ),
        (
            Failure(200, b'{"data": [{"start_time": "x", "results": []}]}'),
            "The file cannot be read",
            FetchState.FAILED,
            False,
        ),
    ],
)
def test_an_error_is_explained_and_nothing_of_its_report_is_imported(
    connect: Connect, provider: ProviderServer, failure: Failure, error: str, state: FetchState, *, is_stopped: bool
) -> None:
    provider.tokens = {YESTERDAY: 1_000_000}
    provider.days_of_page = 20
    provider.failures = [None, None, None, failure]  # the second page of usage
    row = fetch(connect(), provider)
    assert row.error.startswith(error)
    assert (row.state, row.next_fetch_at is None) == (state, is_stopped)
    assert KEY not in row.error
    assert [day.report for day in BillDay.objects.filter(day=YESTERDAY)] == [BillReport.COSTS]


def test_a_rate_limit_is_respected_and_attempts_end(connect: Connect, provider: ProviderServer) -> None:
    row, now = connect(), NOW
    delays = []
    for _ in range(5):
        provider.failures = [Failure(429, headers={"Retry-After": "400"})]
        row = fetch(row, provider, now)
        assert row.next_fetch_at is not None
        delays.append(row.next_fetch_at - now)
        assert fetch(row, provider, now).next_fetch_at == row.next_fetch_at  # it is not due
        now = row.next_fetch_at
    assert [delay.total_seconds() for delay in delays[:4]] == [400, 900, 1800, 3600]
    assert row.state == FetchState.FAILED
    assert row.next_fetch_at == next_night(row.pk, now - delays[4])


def test_a_server_that_does_not_respond_is_tried_again(connect: Connect, provider: ProviderServer) -> None:
    apis = provider.apis
    connection = connect()
    provider.failures = [Failure(200, b"x" * 21_000_000)]
    assert fetch(connection, provider).error == "A page has more than 20 MB."
    request_fetch(organization=connection.organization, connection_id=connection.pk, actor="tests", now=NOW)
    with serving() as stopped:
        apis = stopped.apis
    fetch_bills(connection=connection, clock=lambda: NOW, apis=apis)
    connection.refresh_from_db()
    assert connection.error.startswith("The provider does not respond. The connection failed")
    assert connection.state == FetchState.RETRYING


def test_private_addresses_are_refused(connect: Connect, provider: ProviderServer, settings: Settings) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = False
    assert "url: Must begin with https://." in fetch(connect(), provider).error
    assert provider.requests == []


def test_pages_that_never_end_are_refused(connect: Connect, provider: ProviderServer) -> None:
    page = Failure(200, b'{"data": [], "has_more": true, "next_page": "page_1"}')
    provider.failures = [page] * 3
    assert fetch(connect(), provider).error == "OpenAI costs: the pages do not end."
    assert len(provider.requests) == 2


def test_a_report_without_usage_is_covered(connect: Connect, provider: ProviderServer) -> None:
    assert fetch(connect("anthropic"), provider).state == FetchState.DONE
    reports = set(BillDay.objects.filter(day=YESTERDAY).values_list("report", flat=True))
    assert reports == {BillReport.COSTS, BillReport.USAGE}


def test_a_claimed_connection_is_left_to_its_worker_and_a_new_key_takes_the_claim_away(
    connect: Connect, provider: ProviderServer
) -> None:
    connection = connect()
    BillConnection.objects.update(claimed_until=NOW + timedelta(minutes=5))
    assert fetch(connection, provider).state == FetchState.QUEUED
    assert due_connections(NOW) == []
    assert provider.requests == []
    assert due_connections(NOW + timedelta(minutes=5)) == [connection.pk]  # its worker has died

    class Replacing(dict[Any, Any]):
        """The APIs; the key is replaced after the connection was claimed."""

        def __getitem__(self, name: Any) -> Any:
            connect(key=KEY + "-new")
            return super().__getitem__(name)

    fetch_bills(connection=connect(), clock=lambda: NOW, apis=Replacing(provider.apis))
    connection.refresh_from_db()
    assert (connection.state, connection.claimed_until, provider.requests) == (FetchState.QUEUED, None, [])
    assert not BillImport.objects.exists()


def test_keys_are_encrypted_and_in_no_text(
    connect: Connect, provider: ProviderServer, organization: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect()
    assert KEY not in connection.key
    assert key_of(BillConnection.objects.get()) == KEY
    fetch(connection, provider)
    connect(key="sk-admin-other-key")
    request_fetch(organization=organization, connection_id=connection.pk, actor="a", now=NOW)
    assert fetch(connection, provider).error == "The provider refuses the key (401). Enter a valid one."
    assert list_connections(organization)[0].get_deferred_fields() == {"key"}
    remove_connection(organization=organization, connection_id=connection.pk, actor="a")
    entries = AuditEntry.objects.filter(organization=organization)
    assert [entry.action for entry in entries.order_by("pk") if "connection" in entry.action] == [
        f"provider_connection.{action}" for action in ("created", "key_replaced", "fetch_requested", "removed")
    ]
    for text in (caplog.text, *(f"{entry.subject}{entry.details}" for entry in entries)):
        assert KEY not in text
        assert "sk-admin-other-key" not in text


def test_a_key_of_another_secret_key_must_be_entered_again(
    connect: Connect, provider: ProviderServer, settings: Settings
) -> None:
    connection = connect()
    settings.SECRET_KEY = "another-key-" + "y" * 50
    row = fetch(connection, provider)
    assert "Enter it again" in row.error
    assert (row.next_fetch_at, provider.requests) == (None, [])


def test_invalid_connections_are_refused(
    connect: Connect, organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fields, param in (
        ({"provider": "mistral"}, "provider"),
        ({"key": "short"}, "key"),
        ({"key": "two words and more"}, "key"),
        ({"key": "x" * 501}, "key"),
        ({"account": "x" * 101}, "account"),
    ):
        with pytest.raises(InvalidError) as error:
            connect(**fields)
        assert error.value.param == param
    connection = connect()
    with pytest.raises(NotFoundError):
        remove_connection(organization=other_organization, connection_id=connection.pk, actor="a")
    monkeypatch.setattr("billing.provider_bills.bill_connections.MAX_CONNECTIONS", 1)
    with pytest.raises(ConflictError):
        connect("anthropic")


def test_the_next_fetch_is_at_night_and_at_least_a_day_later_if_the_last_one_was() -> None:
    afternoon, night = datetime(2026, 11, 16, 15, tzinfo=UTC), datetime(2026, 11, 16, 5, tzinfo=UTC)
    assert next_night(7, afternoon) == datetime(2026, 11, 17, 4, 7, tzinfo=UTC)
    assert next_night(7, night) == night + timedelta(days=1)
    assert next_night(7, night.replace(hour=1)) == datetime(2026, 11, 16, 4, 7, tzinfo=UTC)


def test_the_task_of_every_minute_enqueues_due_connections(connect: Connect, organization: Organization) -> None:
    connection = connect()
    BillConnection.objects.update(next_fetch_at=None)
    fetch_bills_task(connection_id=connection.pk)  # it is not due
    fetch_bills_task()
    connection.refresh_from_db()
    assert connection.state == FetchState.QUEUED
    Organization.objects.filter(pk=organization.pk).update(closes_at=NOW)
    BillConnection.objects.update(next_fetch_at=NOW)
    assert due_connections(NOW) == []
