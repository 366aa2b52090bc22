"""One pass of sending emails from an outbox: claim a batch, send it over one connection, record each outcome; repeat.

A row is marked as sent as soon as the server has accepted it, before the next one and before QUIT. If the server is
unavailable, all due messages are postponed for a minute, during which no other pass tries. An outbox is a table:
notices in `billing.notifications`, emails about accounts in `organizations.accounts`.
"""

import logging
import random
import smtplib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Generic, Protocol, TypeVar

import redis
from django.conf import settings
from django.core.cache import cache
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend

from costtrack.queues import TIME_LIMITS, Queue

logger = logging.getLogger(__name__)

RUN_SECONDS = 20.0
"""A pass starts no message after this time."""
SERVER_PAUSE = timedelta(seconds=60)
"""The pause after the mail server was unavailable."""

CLAIM = timedelta(seconds=TIME_LIMITS[Queue.NOTIFICATIONS] + 30)
"""The duration of a claim: longer than the time limit of the task."""

BACKOFF = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=24),
    timedelta(hours=24),
)
"""Delays after the first, the second, ... failed attempt. One more failure is permanent."""

MAX_ERROR_LENGTH = 500

_MAX_DELAY = timedelta(hours=24)
_JITTER = 0.1
_BATCH = 20  # many servers limit the messages per connection
_ACCEPTED = 250
_CLOSING = 421
_PERMANENT = range(500, 600)
_PAUSE_KEY = "costtrack:email:paused"


class OutboxRow(Protocol):
    """A pending message. `message_id` is the same for every attempt, so that mailboxes recognize duplicates."""

    message_id: str


Row = TypeVar("Row", bound=OutboxRow)


class Outbox(Protocol[Row]):
    """A table of messages, each claimed by one worker at a time. `until` is when they are due again."""

    def claim(self, *, now: datetime, limit: int) -> list[Row]: ...

    def is_due(self, *, now: datetime) -> bool: ...

    def compose(self, row: Row, *, now: datetime) -> EmailMultiAlternatives | None:
        """Return the message, or None if it need not be sent any more."""

    def dropped(self, row: Row) -> None:
        """Called if `compose` returned None."""

    def succeeded(self, row: Row, *, status: int | None, now: datetime) -> None: ...

    def failed(self, row: Row, *, error: str, status: int | None, now: datetime, is_permanent: bool) -> None: ...

    def release_claim(self, rows: Sequence[Row], *, until: datetime, error: str | None = None) -> None:
        """Release the claims of rows that were not tried. Does not count as an attempt."""

    def postpone(self, *, now: datetime, until: datetime, error: str) -> None:
        """Postpone all due messages. Does not count as an attempt."""


@dataclass
class SendResult:
    """The result of a pass: how many were sent, and whether more are due."""

    sent: int = 0
    has_more: bool = False


class _ServerUnusableError(Exception):
    """The server is unreachable or rejects everything; not specific to one message."""


class _RefusedError(Exception):
    """The server rejects this message, permanently or temporarily."""

    def __init__(self, status: int | None, text: str, *, is_permanent: bool) -> None:
        super().__init__(text)
        self.status = status
        self.is_permanent = is_permanent


def retry_delay_after(attempts: int, retry_after: timedelta | None = None) -> timedelta:
    """Return the delay after this many failed attempts: `BACKOFF` with 10% jitter."""
    delay = BACKOFF[attempts - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
    return min(max(delay, retry_after or delay), _MAX_DELAY * (1 + _JITTER))


def message_id_header(row: OutboxRow) -> str:
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    return f"<{row.message_id}@{domain}>"


def deliver(outbox: Outbox[Row], *, now: datetime, seconds: float = RUN_SECONDS) -> SendResult:
    """Send due messages for about this many seconds."""
    error = _reason_of_pause()
    if error is not None:
        outbox.postpone(now=now, until=now + SERVER_PAUSE, error=error)
        return SendResult()
    run = _Run(outbox, now, seconds)
    try:
        run.deliver()
    except _ServerUnusableError as unusable:
        _pause(str(unusable))
        outbox.postpone(now=run.now, until=run.now + SERVER_PAUSE, error=str(unusable))
        return SendResult(run.sent)
    return SendResult(run.sent, has_more=outbox.is_due(now=run.now))


class _Run(Generic[Row]):
    """One pass. Opens a connection for the first message of each batch."""

    def __init__(self, outbox: Outbox[Row], now: datetime, seconds: float) -> None:
        self._outbox = outbox
        self._began, self._clock, self._seconds = now, time.monotonic(), seconds
        self._connection: BaseEmailBackend = get_connection()
        self._is_open = False
        self.sent = 0

    @property
    def now(self) -> datetime:
        return self._began + timedelta(seconds=self._elapsed)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._clock

    def deliver(self) -> None:
        """Raises _ServerUnusableError after releasing the claims of rows that were not tried."""
        while self._elapsed < self._seconds:
            claimed = self._outbox.claim(now=self.now, limit=_BATCH)
            if not claimed:
                return
            try:
                self._deliver_each(claimed)
            finally:
                self._close()

    def _deliver_each(self, claimed: Sequence[Row]) -> None:
        for number, row in enumerate(claimed):
            # A suspended worker may have lost its claims, so check the time before each message.
            if self._elapsed >= self._seconds:
                self._outbox.release_claim(claimed[number:], until=self.now)
                return
            try:
                self._deliver(row)
            except _ServerUnusableError as error:
                self._outbox.release_claim(claimed[number:], until=self.now + SERVER_PAUSE, error=str(error))
                raise

    def _deliver(self, row: Row) -> None:
        outbox = self._outbox
        try:
            message = outbox.compose(row, now=self.now)
        except Exception:
            # A message that cannot be composed must not block all others.
            logger.exception("email cannot be composed", extra={"message_id": row.message_id})
            error = "The message cannot be composed. See the worker's log."
            outbox.failed(row, error=error, status=None, now=self.now, is_permanent=False)
            return
        if message is None:
            outbox.dropped(row)
            return
        self._open()
        try:
            self._send(message)
        except _RefusedError as refusal:
            outbox.failed(
                row, error=str(refusal), status=refusal.status, now=self.now, is_permanent=refusal.is_permanent
            )
        except _ServerUnusableError as unusable:
            if not isinstance(unusable.__cause__, smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused):
                # It may have arrived, or this message may be the cause of the failure.
                outbox.failed(row, error=str(unusable), status=None, now=self.now, is_permanent=False)
            raise
        else:
            status = _ACCEPTED if isinstance(self._connection, SMTPBackend) else None
            outbox.succeeded(row, status=status, now=self.now)
            self.sent += 1

    def _open(self) -> None:
        if self._is_open:
            return
        try:
            self._connection.open()
        except (smtplib.SMTPException, OSError) as error:
            raise _ServerUnusableError(f"The mail server cannot be used: {_describe(error)}") from error
        self._is_open = True

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            with suppress(smtplib.SMTPException, OSError):
                self._connection.close()

    def _send(self, message: EmailMultiAlternatives) -> None:
        try:
            self._connection.send_messages([message])
        except smtplib.SMTPRecipientsRefused as error:
            status, text = next(iter(error.recipients.values()))
            raise _refused(status, text) from error
        except smtplib.SMTPDataError as error:
            raise _refused(error.smtp_code, error.smtp_error) from error
        except (smtplib.SMTPException, OSError) as error:
            raise _ServerUnusableError(f"The mail server cannot be used: {_describe(error)}") from error
        except ValueError as error:
            raise _RefusedError(None, f"The address cannot be used: {error}", is_permanent=True) from error


def _refused(status: int, text: bytes | str) -> _RefusedError | _ServerUnusableError:
    if status == _CLOSING:
        return _ServerUnusableError(f"The mail server cannot be used: {status} {_line(text)}")
    return _RefusedError(status, f"{status} {_line(text)}", is_permanent=status in _PERMANENT)


def _describe(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_line(error.smtp_error)}"
    return _line(str(error)) or type(error).__name__


def _line(text: bytes | str) -> str:
    decoded = text.decode(errors="replace") if isinstance(text, bytes) else text
    return " ".join(decoded.split())


def _pause(error: str) -> None:
    logger.warning("mail server cannot be used", extra={"error": error})
    with suppress(redis.RedisError):
        cache.set(_PAUSE_KEY, error, timeout=SERVER_PAUSE.total_seconds())


def _reason_of_pause() -> str | None:
    """Return the reason of the current pause, if any. Without Redis each pass tries for itself."""
    with suppress(redis.RedisError):
        error: str | None = cache.get(_PAUSE_KEY)
        return error
    return None
