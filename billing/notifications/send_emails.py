"""One pass of sending e-mails: claim a batch, send it over one connection, write down each outcome; then the next.

A delivery is marked as sent as soon as the server has accepted it, before the next one begins and before QUIT. When the
server cannot be used, nothing is lost and nobody waits: all that is due is put off for a minute, and until then no
other pass tries.
"""

import logging
import smtplib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis
from django.core.cache import cache
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend

from billing.models import Delivery
from billing.notifications.deliver import claim, failed, is_due, put_off, release_claim, succeeded
from billing.notifications.emails import compose
from billing.types import Channel

logger = logging.getLogger(__name__)

RUN_SECONDS = 20.0
"""No message is begun later in a pass."""
SERVER_PAUSE = timedelta(seconds=60)
"""For how long a mail server that could not be used is left alone."""

_BATCH = 20  # many servers end a connection after some more
_ACCEPTED = 250
_CLOSING = 421
_PERMANENT = range(500, 600)
_PAUSE_KEY = "costtrack:email:paused"


@dataclass
class EmailPass:
    """What became of a pass: how many were sent, and whether more can be sent at once."""

    sent: int = 0
    has_more: bool = False


class _ServerUnusableError(Exception):
    """It is not about one message: the server cannot be reached, or takes nothing from us."""


class _RefusedError(Exception):
    """The server refuses this one message, for good or for now."""

    def __init__(self, status: int | None, text: str, *, for_good: bool) -> None:
        super().__init__(text)
        self.status = status
        self.for_good = for_good


def deliver_emails(*, now: datetime, seconds: float = RUN_SECONDS) -> EmailPass:
    """Send what is due, for about so many seconds."""
    error = _reason_of_pause()
    if error is not None:
        put_off(channel=Channel.EMAIL, now=now, until=now + SERVER_PAUSE, error=error)
        return EmailPass()
    run = _Run(now, seconds)
    try:
        run.deliver()
    except _ServerUnusableError as unusable:
        _pause(run.now, str(unusable))
        return EmailPass(run.sent)
    return EmailPass(run.sent, has_more=is_due(channel=Channel.EMAIL, now=run.now))


class _Run:
    """The work of one pass. A connection is opened for the first message of a batch."""

    def __init__(self, now: datetime, seconds: float) -> None:
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
        """Raises _ServerUnusableError; what was claimed and not tried has been given back then."""
        while self._elapsed < self._seconds:
            claimed = claim(channel=Channel.EMAIL, now=self.now, most=_BATCH)
            if not claimed:
                return
            try:
                self._deliver_each(claimed)
            finally:
                self._close()

    def _deliver_each(self, claimed: Sequence[Delivery]) -> None:
        for number, delivery in enumerate(claimed):
            # A worker that was halted may have lost its claims meanwhile, so the time is looked at before each.
            if self._elapsed >= self._seconds:
                release_claim(claimed[number:], until=self.now)
                return
            try:
                self._deliver(delivery)
            except _ServerUnusableError as error:
                release_claim(claimed[number:], until=self.now + SERVER_PAUSE, error=str(error))
                raise

    def _deliver(self, delivery: Delivery) -> None:
        try:
            message = compose(delivery)
        except Exception:
            # One that cannot be made must not keep all others from being sent, pass after pass.
            logger.exception("e-mail cannot be made", extra={"message_id": delivery.message_id})
            failed(delivery, error="The message cannot be made: see the worker's log.", status=None, now=self.now)
            return
        self._open()
        try:
            self._send(message)
        except _RefusedError as error:
            failed(delivery, error=str(error), status=error.status, now=self.now, give_up=error.for_good)
        except _ServerUnusableError as error:
            if not isinstance(error.__cause__, smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused):
                # Nobody knows whether it has arrived, and it may be this message that the server does not bear.
                failed(delivery, error=str(error), status=None, now=self.now)
            raise
        else:
            succeeded(delivery, status=_ACCEPTED if isinstance(self._connection, SMTPBackend) else None, now=self.now)
            self.sent += 1

    def _open(self) -> None:
        if self._is_open:
            return
        try:
            self._connection.open()
        except (smtplib.SMTPException, OSError) as error:
            raise _ServerUnusableError(f"The mail server cannot be used: {_told(error)}") from error
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
            raise _ServerUnusableError(f"The mail server cannot be used: {_told(error)}") from error
        except ValueError as error:
            raise _RefusedError(None, f"The address cannot be used: {error}", for_good=True) from error


def _refused(status: int, text: bytes | str) -> _RefusedError | _ServerUnusableError:
    if status == _CLOSING:
        return _ServerUnusableError(f"The mail server cannot be used: {status} {_line(text)}")
    return _RefusedError(status, f"{status} {_line(text)}", for_good=status in _PERMANENT)


def _told(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_line(error.smtp_error)}"
    return _line(str(error)) or type(error).__name__


def _line(text: bytes | str) -> str:
    decoded = text.decode(errors="replace") if isinstance(text, bytes) else text
    return " ".join(decoded.split())


def _pause(now: datetime, error: str) -> None:
    logger.warning("mail server cannot be used", extra={"error": error})
    with suppress(redis.RedisError):
        cache.set(_PAUSE_KEY, error, timeout=SERVER_PAUSE.total_seconds())
    put_off(channel=Channel.EMAIL, now=now, until=now + SERVER_PAUSE, error=error)


def _reason_of_pause() -> str | None:
    """Why nothing is tried now. Without Redis each pass tries, and finds out for itself."""
    with suppress(redis.RedisError):
        error: str | None = cache.get(_PAUSE_KEY)
        return error
    return None
