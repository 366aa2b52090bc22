"""Enforcing Acme's limits at chosen instants, and the notices."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from billing.limits.enforce import enforce
from billing.models import Notice, ThresholdEvent
from organizations.models import Organization
from tests.usage import NOW, Send

Enforce = Callable[..., list[str]]
Spend = Callable[..., None]


@pytest.fixture
def enforced(organization: Organization) -> Enforce:
    """Enforce Acme's limits (or the named organization's): the subjects of the notices."""

    def _enforced(now: datetime = NOW, of: Organization = organization) -> list[str]:
        before = set(Notice.objects.of(of).values_list("pk", flat=True))
        done = enforce(organization=of, now=now)
        assert done.failed == 0
        notices = list(Notice.objects.of(of).exclude(pk__in=before).order_by("pk"))
        assert len(notices) == done.notices
        return [notice.subject for notice in notices]

    return _enforced


@pytest.fixture
def spend(send: Send, organization: Organization) -> Spend:
    """Usage of so many dollars, received when it occurred."""
    numbers = iter(range(10**6))

    def _spend(usd: str, *, at: datetime = NOW, to: Organization = organization, **event: object) -> None:
        notices = {
            "id": f"call-{next(numbers)}",
            "occurred_at": at.isoformat(),
            "model": "small",
            "cost_usd": usd,
            **event,
        }
        send(notices, to=to, now=at + timedelta(microseconds=1))

    return _spend


def open_threshold_events() -> list[tuple[str, int]]:
    rows = ThresholdEvent.objects.filter(resolved_at=None).order_by("limit_id", "value", "threshold")
    return list(rows.values_list("value", "threshold"))
