"""Authorizations that ended long ago are forgotten; what they settled stays."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from billing.limits import authorize
from billing.limits.authorize import RETENTION, delete_old_authorizations
from billing.models import Authorization, UsageEvent
from billing.types import AuthorizationStatus
from costtrack.ids import new_id
from organizations.models import Organization
from tests.usage import NOW, Send

MINUTE = timedelta(minutes=1)


def made(organization: Organization, at: datetime, status: AuthorizationStatus) -> Authorization:
    return Authorization.objects.create(
        id=new_id(at),
        organization=organization,
        status=status,
        amount_usd=Decimal(1),
        created_at=at,
        expires_at=at + MINUTE,
    )


@pytest.mark.parametrize("batch_size", [1, 10])
def test_what_ended_and_is_older_than_thirty_days_is_forgotten(
    organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    monkeypatch.setattr(authorize, "_DELETE_BATCH_SIZE", batch_size)
    old, recent = NOW - RETENTION - MINUTE, NOW - RETENTION + MINUTE
    ended = (AuthorizationStatus.SETTLED, AuthorizationStatus.RELEASED, AuthorizationStatus.EXPIRED)
    for status in ended:
        made(organization, old, status)
        made(other_organization, old, status)
    retained = [made(organization, old, AuthorizationStatus.RESERVED), made(organization, recent, ended[0])]

    assert delete_old_authorizations(now=NOW) == 6
    assert set(Authorization.objects.all()) == set(retained)
    assert delete_old_authorizations(now=NOW) == 0


def test_the_event_that_settled_it_stays(organization: Organization, send: Send) -> None:
    old = made(organization, NOW - RETENTION - MINUTE, AuthorizationStatus.RESERVED)
    send({"cost_usd": "1", "authorization_id": str(old.pk)})

    assert delete_old_authorizations(now=NOW) == 1
    assert UsageEvent.objects.get().authorization_id == old.pk
