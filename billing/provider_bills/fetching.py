"""Fetch bills by the APIs of providers, each night and when a user starts it.

A connection's row says when it is due. A worker claims it, reads all pages of its reports without a transaction, and
imports them like files (`billing.provider_bills.imports`); a report is imported only as a whole. What may pass (a rate
limit, an error of the provider's server, no response) is tried again a few times within about two hours; a refused key
is not used again until it is replaced or a user starts a fetch.

Each fetch has the days since the first one that is not closed. A day closes when two fetches that are at least 24 hours
apart agree, so each night's fetch begins no earlier than 24 hours after the last one.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus

from billing.models import BillConnection, BillDay
from billing.notifications.http_request import (
    HTTPResponse,
    Network,
    NoResponseError,
    parse_retry_after,
    send_request,
)
from billing.provider_bills.bill_connections import key_of
from billing.provider_bills.imports import MAX_BYTES, NewBill, import_bill
from billing.provider_bills.provider_apis import (
    FIRST_DAYS,
    PROVIDER_APIS,
    ApiReport,
    PageError,
    ProviderApi,
    page_url,
    read_page,
)
from billing.reports.provider_bills import is_closed
from billing.types import BillFormat, BillProvider, BillReport, FetchState
from costtrack import __version__
from costtrack.clock import DAY, HOUR, MINUTE
from costtrack.encryption import UndecryptableError
from costtrack.errors import DomainError
from costtrack.tenancy import tenant_scope
from organizations.models import Organization

logger = logging.getLogger(__name__)

FETCH_SECONDS = 180.0
"""A fetch that takes longer is tried again later."""
MAX_PAGES = 200
"""Of a report."""
NIGHT = (4, 10)
"""The hours (UTC) in which connections are fetched."""
RETRIES = (5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR)
_CLAIM = timedelta(minutes=10)
_PAGE_TIMEOUT_SECONDS = 60.0
_SYSTEM = "system"
_SPREAD_MINUTES = 120
_INTERNAL_ERROR = "Internal error; see the server's log."


class FetchError(Exception):
    """A fetch has failed; the message explains why, in a sentence. `is_temporary`: another attempt may succeed, no
    earlier than after `retry_after`. `is_refused`: the key is not accepted."""

    def __init__(
        self,
        message: str,
        *,
        is_temporary: bool = False,
        is_refused: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary
        self.is_refused = is_refused
        self.retry_after = retry_after


class _ClaimLostError(Exception):
    """The connection was removed, or has another key."""


def due_connections(now: datetime) -> list[int]:
    """Return the ids of connections to fetch, of all open organizations."""
    due = BillConnection.objects.filter(next_fetch_at__lte=now, organization__closes_at=None)
    rows = due.order_by("next_fetch_at").values_list("pk", "claimed_until")
    return [pk for pk, claimed_until in rows if claimed_until is None or claimed_until <= now]


def fetch_bills(
    *,
    connection: BillConnection,
    clock: Callable[[], datetime],
    network: Network | None = None,
    apis: Mapping[BillProvider, ProviderApi] = PROVIDER_APIS,
) -> None:
    """Fetch and import the reports of a connection that is due, and store the result. Does nothing if it is not due or
    another worker has claimed it."""
    claimed = _claim(connection, clock())
    if claimed is None:
        return
    fetch = _Fetch(claimed, apis[BillProvider(claimed.provider)], clock, network)
    try:
        days = fetch.run()
    except _ClaimLostError:
        return
    except FetchError as error:
        _record_failure(claimed, error, now=clock())
    except DomainError as error:
        _record_failure(claimed, FetchError(error.message.removeprefix("content: ")), now=clock())
    except Exception:
        logger.exception("bills could not be fetched", extra={"organization_id": claimed.organization_id})
        _record_failure(claimed, FetchError(_INTERNAL_ERROR, is_temporary=True), now=clock())
    else:
        _record_success(claimed, days, now=clock())


class _Fetch:
    def __init__(
        self, connection: BillConnection, api: ProviderApi, clock: Callable[[], datetime], network: Network | None
    ) -> None:
        self._connection = connection
        self._api = api
        self._clock = clock
        self._network = network or Network(timeout_seconds=_PAGE_TIMEOUT_SECONDS)
        self._ends_at = time.monotonic() + FETCH_SECONDS

    def run(self) -> int:
        """Return the number of days. Raises FetchError."""
        try:
            key = key_of(self._connection)
        except UndecryptableError:
            text = "The key cannot be decrypted. Was COSTTRACK_SECRET_KEY changed? Enter it again."
            raise FetchError(text, is_refused=True) from None
        last = self._clock().date()
        first = first_open_day(self._connection, last, [report.format for report in self._api.reports])
        for report in self._api.reports:
            began = self._clock()
            pages = self._pages(report, key, first, last)
            if pages:
                self._import(report, pages, began, f"{first}-{last}")
        return (last - first).days + 1

    def _pages(self, report: ApiReport, key: str, first: date, last: date) -> list[bytes]:
        """Return the pages of a report that have days."""
        pages: list[bytes] = []
        count = size = 0
        for path in report.paths:
            cursor, cursors = "", {""}
            while True:
                count += 1
                self._report_progress(f"{BillFormat(report.format).label}, page {count}")
                body = self._get(page_url(self._api.base_url, path, report.parameters(first, last), cursor), key)
                size += len(body)
                if size > MAX_BYTES:
                    raise FetchError(f"The report has more than {MAX_BYTES // 1024 // 1024} MB.")
                try:
                    has_rows, cursor = read_page(body)
                except PageError as error:
                    raise FetchError(f"{BillFormat(report.format).label}: {error}") from error
                if has_rows:
                    pages.append(body)
                if not cursor:
                    break
                if cursor in cursors or count >= MAX_PAGES:
                    raise FetchError(f"{BillFormat(report.format).label}: the pages do not end.")
                cursors.add(cursor)
        return pages

    def _get(self, url: str, key: str) -> bytes:
        if time.monotonic() > self._ends_at:
            raise FetchError("The provider's responses take too long.", is_temporary=True)
        headers = {**self._api.headers(key), "Accept": "application/json", "User-Agent": f"costtrack/{__version__}"}
        try:
            response = send_request("GET", url, headers=headers, network=self._network, max_body_bytes=MAX_BYTES)
        except NoResponseError as error:
            raise FetchError(f"The provider does not respond. {error}", is_temporary=True) from error
        if response.status != HTTPStatus.OK:
            raise self._refusal(response, key)
        if response.is_cut:
            raise FetchError(f"A page has more than {MAX_BYTES // 1024 // 1024} MB.")
        return response.body

    def _refusal(self, response: HTTPResponse, key: str) -> FetchError:
        """Return the error of a response. A provider's own text may quote the key, so it is left out where it is about
        the key, and never shows it."""
        match response.status:
            case HTTPStatus.UNAUTHORIZED:
                return FetchError("The provider refuses the key (401). Enter a valid one.", is_refused=True)
            case HTTPStatus.FORBIDDEN:
                text = f"The key may not read reports (403). It must be {self._api.kind_of_key}."
                return FetchError(text, is_refused=True)
            case HTTPStatus.TOO_MANY_REQUESTS:
                wait = parse_retry_after(response.retry_after, now=self._clock())
                return FetchError("The provider's rate limit is reached (429).", is_temporary=True, retry_after=wait)
            case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                wait = parse_retry_after(response.retry_after, now=self._clock())
                text = f"The provider's server has an error ({status})."
                return FetchError(text, is_temporary=True, retry_after=wait)
            case status:
                said = response.text.replace(key, "***")
                return FetchError(
                    f"The provider answered {status}: {said}" if said else f"The provider answered {status}."
                )

    def _import(self, report: ApiReport, pages: list[bytes], fetched_at: datetime, days: str) -> None:
        connection = self._connection
        self._report_progress(f"{BillFormat(report.format).label}, import")
        bill = NewBill(
            content=b"[" + b",".join(pages) + b"]",
            file_name=f"{report.format.value}-{days}.json",
            account=connection.account,
            format=report.format,
            fetched_at=fetched_at,
        )
        import_bill(organization=connection.organization, bill=bill, actor=_SYSTEM, now=self._clock())

    def _report_progress(self, text: str) -> None:
        if not _update(self._connection, progress=text):
            raise _ClaimLostError


def first_open_day(connection: BillConnection, last: date, formats: list[BillFormat]) -> date:
    """Return the first of the last days that is not closed in every report. Later fetches go back a day more than the
    first one, so that its first day can close too."""
    reports = {BillReport.USAGE if name.value.endswith("_usage") else BillReport.COSTS for name in formats}
    first = last - timedelta(days=FIRST_DAYS - (connection.fetched_at is None))
    with tenant_scope(connection.organization_id):
        days = BillDay.objects.filter(
            organization=connection.organization_id,
            provider=connection.provider,
            account=connection.account,
            day__range=(first, last),
        )
        closed = {(BillReport(day.report), day.day) for day in days if is_closed(day)}
    while first < last and all((report, first) in closed for report in reports):
        first += DAY
    return first


def next_night(connection_id: int, after: datetime) -> datetime:
    """Return when a connection is fetched next: 24 hours later if that is at night, else in the next night, each
    connection at its own minute."""
    same_time = after + DAY
    first, end = NIGHT
    if first <= same_time.hour < end:
        return same_time
    slot = datetime(after.year, after.month, after.day, first, tzinfo=UTC)
    slot += timedelta(minutes=connection_id % _SPREAD_MINUTES)
    return slot if slot > after else slot + DAY


def _claim(connection: BillConnection, now: datetime) -> BillConnection | None:
    with tenant_scope(connection.organization_id):
        rows = BillConnection.objects.row(connection).select_for_update(skip_locked=True)
        row = rows.filter(next_fetch_at__lte=now).first()
        if row is None or (row.claimed_until is not None and row.claimed_until > now):
            return None
        row.organization = Organization.objects.get(pk=row.organization_id)
        row.state, row.progress, row.claimed_until = FetchState.RUNNING.value, "", now + _CLAIM
        row.save(update_fields=["state", "progress", "claimed_until"])
    return row


def _record_success(connection: BillConnection, days: int, *, now: datetime) -> None:
    _update(
        connection,
        state=FetchState.DONE.value,
        progress="",
        error="",
        attempts=0,
        claimed_until=None,
        fetched_at=now,
        days=days,
        next_fetch_at=next_night(connection.pk, now),
    )


def _record_failure(connection: BillConnection, error: FetchError, *, now: datetime) -> None:
    attempts = connection.attempts
    next_fetch_at: datetime | None = next_night(connection.pk, now)
    state = FetchState.FAILED
    if error.is_refused:
        next_fetch_at = None
    elif error.is_temporary and attempts < len(RETRIES):
        state, next_fetch_at = FetchState.RETRYING, now + max(RETRIES[attempts], error.retry_after or timedelta())
        attempts += 1
    else:
        attempts = 0
    _update(
        connection,
        state=state.value,
        error=str(error)[:400],
        attempts=attempts,
        claimed_until=None,
        next_fetch_at=next_fetch_at,
    )


def _update(connection: BillConnection, **fields: object) -> bool:
    """Update the row as long as this worker's claim is valid; return whether it is."""
    with tenant_scope(connection.organization_id):
        rows = BillConnection.objects.row(connection).filter(claimed_until=connection.claimed_until)
        return bool(rows.update(**fields))
