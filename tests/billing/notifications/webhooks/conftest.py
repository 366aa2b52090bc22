"""Endpoints on loopback, and notices for them."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from pytest_django import Settings

from billing.models import Delivery, Notice
from billing.notifications.outbox import notify
from billing.notifications.webhooks import IssuedWebhook, create_webhook
from billing.types import NoticeKind
from costtrack.clock import utc_now
from organizations.models import Organization
from tests.billing.notifications.webhooks.receiver import Receiver, receiving

AddWebhook = Callable[..., IssuedWebhook]
CreateNotice = Callable[..., Notice]


@pytest.fixture
def loopback(settings: Settings) -> None:
    """Webhooks may go to private addresses."""
    settings.WEBHOOK_PRIVATE_ADDRESSES = True


@pytest.fixture
def receiver(loopback: None) -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def add_webhook(organization: Organization) -> AddWebhook:
    """A webhook of Acme, or of the named organization."""

    def add(url: str, *, to: Organization = organization, **fields: Any) -> IssuedWebhook:
        return create_webhook(organization=to, url=url, **fields, actor="tests", now=utc_now())

    return add


@pytest.fixture
def create_notice(organization: Organization) -> CreateNotice:
    """A notice of Acme's, by webhook alone."""

    def create_notice(kind: NoticeKind = NoticeKind.PAUSED, now: datetime | None = None, **data: Any) -> Notice:
        data = {"organization": organization.slug, **data}
        return notify(
            organization=organization, kind=kind, subject="Access is paused", data=data, now=now or utc_now(), to=()
        )

    return create_notice


def delivery_of(notice: Notice) -> Delivery:
    """The only one, as it is now."""
    return notice.deliveries.get()
