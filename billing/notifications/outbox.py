"""The outbox: a notice is written in the same transaction as the change that it is about (docs/notifications.md).

`notify` only writes rows. Workers send them afterwards (`billing.notifications.deliver`), so a notice is told if and
only if what it tells of has been committed, and no mail server or webhook can hold up, or undo, what happened.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from billing.models import Delivery, Notice, WebhookEndpoint
from billing.notifications.preferences import subscribed_addresses
from billing.types import Channel, NoticeKind
from costtrack.jobs import enqueue_throttled_on_commit
from organizations.models import Organization

DELIVER_TASKS = {Channel.EMAIL: "billing.deliver_email", Channel.WEBHOOK: "billing.deliver_webhooks"}
_NUDGE_INTERVAL = timedelta(milliseconds=200)
_TOKEN_BYTES = 8
_MAX_SUBJECT_LENGTH = 254


@dataclass(frozen=True, slots=True)
class _Recipient:
    channel: Channel
    address: str
    webhook: WebhookEndpoint | None = None


@transaction.atomic
def notify(
    *,
    organization: Organization,
    kind: NoticeKind,
    subject: str,
    data: dict[str, Any],
    now: datetime,
    to: Sequence[str] | None = None,
    webhooks: Sequence[WebhookEndpoint] | None = None,
) -> Notice:
    """Write a notice and a delivery for each recipient, in the caller's transaction.

    E-mail goes to the owners and admins who want this kind of notice, or exactly to the addresses `to`. (A name that
    is no address, as a Client ID that has asked for an increase, gets none.) Webhooks: the enabled endpoints that want
    this kind, or exactly `webhooks`. `data` is JSON-ready and becomes the `data` of the webhook's message; its shape
    for each kind is in docs/notifications.md.
    """
    notice = Notice.objects.create(
        organization=organization, kind=kind, subject=_one_line(subject), data=data, created_at=now
    )
    if to is None:
        to = subscribed_addresses(organization=organization, kind=kind)
    if webhooks is None:
        webhooks = _wanting_endpoints(organization, kind)
    recipients = [_Recipient(Channel.EMAIL, address) for address in _addresses(to)]
    recipients += [_Recipient(Channel.WEBHOOK, webhook.url, webhook) for webhook in webhooks]
    Delivery.objects.bulk_create(_delivery(notice, recipient) for recipient in recipients)
    for channel in {recipient.channel for recipient in recipients}:
        enqueue_delivery(channel)
    return notice


def new_message_id(notice_id: int, channel: Channel) -> str:
    """An id for all attempts of one delivery. Its end is random: notices of a database that is set up anew are numbered
    from 1 again, and nobody who remembers ids is to take them for repetitions."""
    return f"{notice_id}-{channel.value}-{secrets.token_hex(_TOKEN_BYTES)}"


def enqueue_delivery(channel: Channel) -> None:
    """Have a channel's deliveries sent as soon as the transaction has committed, rather than by the timetable."""
    enqueue_throttled_on_commit(DELIVER_TASKS[channel], at_most_every=_NUDGE_INTERVAL)


def _delivery(notice: Notice, recipient: _Recipient) -> Delivery:
    return Delivery(
        organization_id=notice.organization_id,
        notice=notice,
        channel=recipient.channel,
        recipient=recipient.address,
        webhook=recipient.webhook,
        message_id=new_message_id(notice.pk, recipient.channel),
        created_at=notice.created_at,
        next_attempt_at=notice.created_at,
    )


def _wanting_endpoints(organization: Organization, kind: NoticeKind) -> list[WebhookEndpoint]:
    # One that is being removed is waited for, and is gone then.
    enabled = WebhookEndpoint.objects.of(organization).filter(enabled=True).select_for_update(no_key=True)
    enabled = enabled.order_by("pk")
    return [endpoint for endpoint in enabled if not endpoint.kinds or kind.value in endpoint.kinds]


def _addresses(names: Iterable[str]) -> list[str]:
    """Each address once; case makes no difference."""
    return list({name.casefold(): name for name in names if "@" in name}.values())


def _one_line(subject: str) -> str:
    """Values in it are whatever callers send as a tag or a user; a header has one line."""
    return " ".join(subject.split())[:_MAX_SUBJECT_LENGTH]
