"""The outbox: a notice is written in the transaction of the change that it reports (docs/notifications.md).

`notify` only writes rows, and workers send them afterwards (`billing.notifications.deliveries`). So a notice is sent if
and only if the change is committed, and no mail server or webhook can delay or fail the change.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from billing.models import Delivery, Notice, WebhookEndpoint
from billing.notifications.recipients import MAX_PER_HOUR, over_the_limit, recipients_of
from billing.types import Channel, DeliveryState, NoticeKind
from costtrack.jobs import enqueue_throttled_on_commit
from costtrack.logs import current_request_id
from organizations.models import Organization

DELIVER_TASKS = {Channel.EMAIL: "billing.deliver_email", Channel.WEBHOOK: "billing.deliver_webhooks"}
_ENQUEUE_INTERVAL = timedelta(milliseconds=200)
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

    Emails are sent to everyone whom the notice concerns (`recipients_of`), or only to the addresses in `to`; entries
    that are not addresses, such as the Client ID of a requester, are ignored. A recipient with too many emails in the
    last hour gets a failed delivery instead. Webhooks are the enabled endpoints that subscribed to this kind, or only
    `webhooks`. `data` is JSON-ready and becomes the `data` of the webhook's message; docs/notifications.md describes it
    for each kind.
    """
    notice = Notice.objects.create(
        organization=organization,
        kind=kind,
        subject=_one_line(subject),
        data=data,
        request_id=current_request_id(),
        created_at=now,
    )
    if to is None:
        to = recipients_of(organization=organization, kind=kind, data=data)
    if webhooks is None:
        webhooks = _subscribed_endpoints(organization, kind)
    addresses = _addresses(to)
    recipients = [_Recipient(Channel.EMAIL, address) for address in addresses]
    recipients += [_Recipient(Channel.WEBHOOK, webhook.url, webhook) for webhook in webhooks]
    refused = over_the_limit(organization=organization, addresses=addresses, now=now) if addresses else set()
    Delivery.objects.bulk_create(
        _refused(_delivery(notice, recipient)) if recipient.address in refused else _delivery(notice, recipient)
        for recipient in recipients
    )
    for channel in {recipient.channel for recipient in recipients}:
        enqueue_delivery(channel)
    return notice


def new_message_id(notice_id: int, channel: Channel) -> str:
    """Return an id for all attempts of one delivery.

    Its end is random, because a new database numbers notices from 1 again, and receivers must not take them for
    duplicates.
    """
    return f"{notice_id}-{channel.value}-{secrets.token_hex(_TOKEN_BYTES)}"


def enqueue_delivery(channel: Channel) -> None:
    """Send a channel's deliveries as soon as the transaction commits, instead of by the beat schedule."""
    enqueue_throttled_on_commit(DELIVER_TASKS[channel], interval=_ENQUEUE_INTERVAL)


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


def _refused(delivery: Delivery) -> Delivery:
    """Mark a delivery to a recipient with too many emails as failed; it can be sent again from the delivery log."""
    delivery.state = DeliveryState.FAILED
    delivery.finished_at = delivery.created_at
    delivery.last_error = f"The recipient had {MAX_PER_HOUR} emails in the last hour."
    return delivery


def _subscribed_endpoints(organization: Organization, kind: NoticeKind) -> list[WebhookEndpoint]:
    # The lock waits for an endpoint that is being removed, which is then not returned.
    enabled = WebhookEndpoint.objects.of(organization).filter(enabled=True).select_for_update(no_key=True)
    enabled = enabled.order_by("pk")
    return [endpoint for endpoint in enabled if not endpoint.kinds or kind.value in endpoint.kinds]


def _addresses(names: Iterable[str]) -> list[str]:
    """Return each address once, ignoring case."""
    return list({name.casefold(): name for name in names if "@" in name}.values())


def _one_line(subject: str) -> str:
    """Return the subject on one line, as a header needs; it may contain values that callers sent."""
    return " ".join(subject.split())[:_MAX_SUBJECT_LENGTH]
