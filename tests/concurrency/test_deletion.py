"""An organization is deleted while requests that began before are still recording usage, by two workers at once."""

from datetime import timedelta

import pytest
from django.db import Error

from billing.deletion import delete_closed_organizations
from billing.models import UsageEvent
from billing.rollups.fold import fold
from costtrack.clock import utc_now
from organizations.models import Closing, Organization
from tests.billing.test_deletion import rows_of
from tests.concurrency.conftest import run_concurrently
from tests.usage import send_events

pytestmark = pytest.mark.django_db(transaction=True)


def test_no_row_remains_of_requests_that_record_usage_meanwhile(
    organization: Organization, other_organization: Organization
) -> None:
    send_events(organization, {"kind": "compute", "cost_usd": "1"}, now=utc_now())
    send_events(other_organization, {"kind": "compute", "cost_usd": "1"}, now=utc_now())
    now = utc_now()
    Organization.objects.filter(pk=organization.pk).update(closes_at=now)
    Closing.objects.create(organization=organization, closed_at=now - timedelta(days=30), closed_by="ada")

    def act(number: int) -> None:
        if number < 2:
            while Organization.objects.filter(pk=organization.pk).exists():
                delete_closed_organizations(now=now, seconds=60)
                fold(now=utc_now())
            return
        for index in range(8):
            try:
                send_events(
                    organization, {"id": f"{number}-{index}", "kind": "compute", "cost_usd": "1"}, now=utc_now()
                )
            except Error:  # the organization is gone
                return

    run_concurrently(act, range(5))
    assert rows_of(organization.pk) == {}
    assert UsageEvent.objects.get().organization_id == other_organization.pk
