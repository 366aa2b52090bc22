"""Workers that compare the same hour with its band: its anomaly, and the notice, are written once."""

from datetime import timedelta

import pytest

from billing.anomalies import detect_anomalies
from billing.models import Anomaly, AnomalyWindow, Notice
from billing.rollups.fold import fold
from organizations.models import Organization
from tests.concurrency.conftest import run_concurrently
from tests.usage import NOW, Send

pytestmark = pytest.mark.django_db(transaction=True)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_an_anomaly_and_its_notice_are_written_once(organization: Organization, send: Send) -> None:
    start = NOW - HOUR
    history = ({"user_id": "ada", "cost_usd": "10", "occurred_at": (start - n * DAY).isoformat()} for n in range(1, 50))
    send(*history, {"user_id": "ada", "cost_usd": "500", "occurred_at": start.isoformat()})
    fold(now=NOW)

    found = run_concurrently(
        lambda _: detect_anomalies(organization=organization, now=NOW + timedelta(minutes=10)), range(4)
    )

    assert sorted(found) == [0, 0, 0, 1]
    assert (Anomaly.objects.count(), Notice.objects.count()) == (1, 1)
    assert sorted(AnomalyWindow.objects.values_list("scope", flat=True)) == ["organization", "user"]
