"""Notices for tests."""

from collections.abc import Sequence
from datetime import datetime

from billing.models import Notice, NotificationAddress
from billing.notifications.email_examples import example_notice
from billing.notifications.outbox import notify
from billing.types import NoticeKind
from organizations.models import Organization
from tests.usage import NOW


def create_notice(
    organization: Organization,
    kind: NoticeKind = NoticeKind.PAUSED,
    *,
    to: Sequence[str] | None = None,
    now: datetime = NOW,
) -> Notice:
    """A notice with made-up data, to those who want it or to these addresses, which the organization has added."""
    for address in filter(lambda name: "@" in name, to or ()):
        NotificationAddress.objects.get_or_create(
            organization=organization, address=address, defaults={"created_at": now, "categories": ["none"]}
        )
    example = example_notice(kind, now=now)
    return notify(
        organization=organization, kind=kind, subject=example.subject, data=dict(example.data), now=now, to=to
    )
