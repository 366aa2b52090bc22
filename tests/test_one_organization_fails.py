"""Work on many organizations continues when one of them fails, as it would if its part of the database were away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import QuerySet

from billing import tasks
from billing.limits.authorize import delete_old_authorizations, expire
from billing.models import Authorization, Delivery, IngestBatch, UnpricedEvent, WebhookEndpoint
from billing.notifications.deliveries import claim, claim_one_per_endpoint, postpone
from billing.notifications.outbox import notify
from billing.rollups.fold import fold
from billing.types import AuthorizationStatus, Channel, NoticeKind
from costtrack.ids import new_id
from organizations.models import Organization
from tests.usage import NOW, send_events, set_price

pytestmark = pytest.mark.django_db(transaction=True)

WORK: dict[str, Callable[[], object]] = {
    "fold": lambda: fold(now=NOW),
    "price": tasks.price_unpriced_task,
    "claim emails": lambda: claim(channel=Channel.EMAIL, now=NOW, limit=9),
    "postpone emails": lambda: postpone(channel=Channel.EMAIL, now=NOW, until=NOW + timedelta(hours=1), error="Down."),
    "claim webhooks": lambda: claim_one_per_endpoint(now=NOW, max_endpoints=9),
    "expire authorizations": lambda: expire(now=NOW),
    "delete authorizations": lambda: delete_old_authorizations(now=NOW + timedelta(days=40)),
}


@contextmanager
def failing(organization: Organization) -> Iterator[None]:
    """Refuse each statement that names this organization, for as long as the block runs."""

    def execute(execute: Callable[..., Any], statement: Any, parameters: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
        values = parameters.values() if isinstance(parameters, dict) else parameters or ()
        if any(value == organization.pk for value in values):
            raise OperationalError("The server of this organization is away.")
        return execute(statement, parameters, many, context)

    with connection.execute_wrapper(execute):
        yield


def add_work(organization: Organization) -> None:
    """Something to do for each of `WORK`."""
    send_events(organization, {"id": "1", "service": "openai", "model": "unpriced-model", "input_tokens": 1})
    webhook = WebhookEndpoint.objects.create(organization=organization, url="https://x.example", created_at=NOW)
    data: dict[str, Any] = {
        "organization": organization,
        "kind": NoticeKind.PAUSED,
        "subject": "x",
        "data": {},
        "now": NOW,
    }
    notify(**data, to=["a@acme.example"], webhooks=[webhook])
    for status in (AuthorizationStatus.RESERVED, AuthorizationStatus.RELEASED):
        Authorization.objects.create(
            id=new_id(NOW),
            organization=organization,
            status=status,
            amount_usd=Decimal(1),
            created_at=NOW,
            expires_at=NOW,
        )


def work_left(name: str, organization: Organization) -> bool:
    deliveries = Delivery.objects.of(organization).filter(claimed_until=None, next_attempt_at__lte=NOW)
    authorizations = Authorization.objects.of(organization)
    left: dict[str, QuerySet[Any]] = {
        "fold": IngestBatch.objects.of(organization).filter(folded_at=None),
        "price": UnpricedEvent.objects.of(organization),
        "claim emails": deliveries.filter(channel=Channel.EMAIL),
        "postpone emails": deliveries.filter(channel=Channel.EMAIL),
        "claim webhooks": deliveries.filter(channel=Channel.WEBHOOK),
        "expire authorizations": authorizations.filter(status=AuthorizationStatus.RESERVED),
        "delete authorizations": authorizations.exclude(status=AuthorizationStatus.RESERVED),
    }
    return left[name].exists()


@pytest.mark.parametrize("name", WORK)
def test_the_other_organization_is_served_and_the_failing_one_later(
    name: str,
) -> None:
    # Ids that nothing else has, because statements are recognized by them.
    away = Organization.objects.create(pk=7_000_001, slug="away", name="Away")
    other = Organization.objects.create(pk=7_000_002, slug="other", name="Other")
    for organization in (away, other):
        add_work(organization)
    set_price("unpriced-model", input="1")

    with failing(away):
        WORK[name]()
    assert (work_left(name, away), work_left(name, other)) == (True, False)

    WORK[name]()
    assert not work_left(name, away)
