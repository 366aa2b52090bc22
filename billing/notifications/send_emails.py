"""Notices by e-mail: the deliveries of the channel, as an outbox."""

from collections.abc import Sequence
from datetime import datetime

from django.core.mail import EmailMultiAlternatives

from billing.models import Delivery
from billing.notifications import deliver
from billing.notifications.emails import compose
from billing.types import Channel
from costtrack.mail.sending import RUN_SECONDS, EmailPass
from costtrack.mail.sending import deliver as deliver_outbox


def deliver_emails(*, now: datetime, seconds: float = RUN_SECONDS) -> EmailPass:
    """Send what is due, for about so many seconds."""
    return deliver_outbox(_Outbox(), now=now, seconds=seconds)


class _Outbox:
    def claim(self, *, now: datetime, most: int) -> list[Delivery]:
        return deliver.claim(channel=Channel.EMAIL, now=now, most=most)

    def is_due(self, *, now: datetime) -> bool:
        return deliver.is_due(channel=Channel.EMAIL, now=now)

    def compose(self, row: Delivery, *, now: datetime) -> EmailMultiAlternatives:
        return compose(row)

    def dropped(self, row: Delivery) -> None:
        """A notice is always sent."""

    def succeeded(self, row: Delivery, *, status: int | None, now: datetime) -> None:
        deliver.succeeded(row, status=status, now=now)

    def failed(self, row: Delivery, *, error: str, status: int | None, now: datetime, give_up: bool) -> None:
        deliver.failed(row, error=error, status=status, now=now, give_up=give_up)

    def release_claim(self, rows: Sequence[Delivery], *, until: datetime, error: str | None = None) -> None:
        deliver.release_claim(rows, until=until, error=error)

    def put_off(self, *, now: datetime, until: datetime, error: str) -> None:
        deliver.put_off(channel=Channel.EMAIL, now=now, until=until, error=error)
