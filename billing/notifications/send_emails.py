"""Send notices by e-mail: the deliveries of the e-mail channel as an outbox of `costtrack.mail.sending`."""

from collections.abc import Sequence
from datetime import datetime

from django.core.mail import EmailMultiAlternatives

from billing.models import Delivery
from billing.notifications import deliver
from billing.notifications.emails import compose
from billing.types import Channel
from costtrack.mail.sending import RUN_SECONDS, SendResult
from costtrack.mail.sending import deliver as deliver_outbox


def deliver_emails(*, now: datetime, seconds: float = RUN_SECONDS) -> SendResult:
    """Send due e-mails, for about `seconds`."""
    return deliver_outbox(_Outbox(), now=now, seconds=seconds)


class _Outbox:
    def claim(self, *, now: datetime, limit: int) -> list[Delivery]:
        return deliver.claim(channel=Channel.EMAIL, now=now, limit=limit)

    def is_due(self, *, now: datetime) -> bool:
        return deliver.is_due(channel=Channel.EMAIL, now=now)

    def compose(self, row: Delivery, *, now: datetime) -> EmailMultiAlternatives:
        return compose(row)

    def dropped(self, row: Delivery) -> None:
        """Do nothing: a notice is never dropped."""

    def succeeded(self, row: Delivery, *, status: int | None, now: datetime) -> None:
        deliver.succeeded(row, status=status, now=now)

    def failed(self, row: Delivery, *, error: str, status: int | None, now: datetime, is_permanent: bool) -> None:
        deliver.failed(row, error=error, status=status, now=now, is_permanent=is_permanent)

    def release_claim(self, rows: Sequence[Delivery], *, until: datetime, error: str | None = None) -> None:
        deliver.release_claim(rows, until=until, error=error)

    def postpone(self, *, now: datetime, until: datetime, error: str) -> None:
        deliver.postpone(channel=Channel.EMAIL, now=now, until=until, error=error)
