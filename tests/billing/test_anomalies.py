"""Unusual spend of an organization, from its events: what is found, stored and notified of."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.anomalies import detect_anomalies
from billing.ledger.corrections import void
from billing.models import Anomaly, AnomalyWindow, Notice, UsageEvent
from billing.rollups.fold import fold
from organizations.models import APICredential, Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW, send_events

pytestmark = pytest.mark.django_db
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MIDNIGHT = NOW.replace(hour=0)
WORKING_HOURS = (9, 10, 11)


def call(at: datetime, usd: object, *, user: str = "ada", model: str = "gpt-5", team: str = "search") -> dict[str, Any]:
    return {
        "id": f"{at:%m%d%H}-{user}-{usd}",
        "service": "openai",
        "model": model,
        "user_id": user,
        "team": team,
        "cost_usd": str(usd),
        "occurred_at": at.isoformat(),
    }


def send(organization: Organization, credential: APICredential, *events: dict[str, Any], now: datetime) -> None:
    send_events(organization, *events, now=now, credential=credential)
    fold(now=now)


@pytest.fixture
def credential(organization: Organization) -> APICredential:
    return make_key(organization, Scope.USAGE_WRITE).credential


@pytest.fixture
def history(organization: Organization, credential: APICredential) -> None:
    """Seven weeks in which ada spends 10 dollars in each of three hours a day."""
    days = [MIDNIGHT - number * DAY for number in range(1, 50)]
    send(organization, credential, *(call(day + hour * HOUR, 10) for day in days for hour in WORKING_HOURS), now=NOW)


@pytest.mark.usefixtures("history")
def test_a_runaway_is_one_anomaly_with_one_notice_however_long_it_lasts(
    organization: Organization, credential: APICredential
) -> None:
    at = MIDNIGHT + 10 * HOUR
    send(organization, credential, call(at - HOUR, 10), call(at, 500, user="ada"), now=at + HOUR)
    assert detect_anomalies(organization=organization, now=at + HOUR) == 0, "the hour may still get events"

    assert detect_anomalies(organization=organization, now=at + HOUR + 10 * MINUTE) == 1
    anomaly = Anomaly.objects.get()
    assert (anomaly.scope, anomaly.value, anomaly.unit, anomaly.is_rise) == ("organization", "", "hour", True)
    assert (anomaly.starts_at, anomaly.ends_at) == (at, at + HOUR)
    assert (anomaly.actual_usd, round(anomaly.expected_usd)) == (500, 10)
    assert anomaly.expected_usd < anomaly.high_usd < 500
    series = set(AnomalyWindow.objects.values_list("scope", "value"))
    assert series == {
        *(("organization", ""), ("user", "ada"), ("team", "search"), ("model", "gpt-5")),
        ("credential", str(credential.pk)),
    }
    assert [(cause["scope"], cause["value"]) for cause in anomaly.explained_by] == [
        *(("user", "ada"), ("credential", str(credential.pk)), ("model", "gpt-5"), ("team", "search")),
    ]
    assert Decimal(anomaly.explained_by[0]["usd"]) == 490

    (notice,) = Notice.objects.filter(kind="usage.anomaly")
    (listed,) = notice.data["anomalies"]
    assert (listed["id"], listed["spent_usd"], listed["direction"]) == (anomaly.pk, "500", "rise")
    assert listed["explained_by"][1] == {"scope": "credential", "scope_value": credential.client_id, "usd": "490"}
    assert "spent $500.00, expected about $10.00" in notice.subject

    send(organization, credential, call(at + HOUR, 400), now=at + 2 * HOUR)
    assert detect_anomalies(organization=organization, now=at + 2 * HOUR + 10 * MINUTE) == 0
    assert detect_anomalies(organization=organization, now=MIDNIGHT + DAY + 6 * HOUR) == 0
    anomaly.refresh_from_db()
    assert (anomaly.unit, anomaly.actual_usd) == ("day", 910)
    assert (anomaly.began_at, anomaly.ended_at) == (MIDNIGHT, MIDNIGHT + DAY)
    assert AnomalyWindow.objects.count() == 15
    assert Notice.objects.count() == 1


@pytest.mark.usefixtures("history")
def test_two_runaways_at_once_are_two_anomalies_in_one_notice(
    organization: Organization, credential: APICredential
) -> None:
    other = [
        call(MIDNIGHT - number * DAY + 9 * HOUR, 5, user="bob", model="gpt-6", team="ads") for number in range(1, 50)
    ]
    at = MIDNIGHT + 10 * HOUR
    send(organization, credential, *other, call(at, 500), call(at, 300, user="bob", model="gpt-6", team="ads"), now=NOW)
    assert detect_anomalies(organization=organization, now=at + HOUR + 10 * MINUTE) == 2
    by_series = dict(AnomalyWindow.objects.values_list("value", "anomaly__value"))
    assert (by_series["ada"], by_series["gpt-6"], by_series["ads"]) == ("", "bob", "bob")
    assert Notice.objects.get().data["more"] == 0
    assert [row["scope_value"] for row in Notice.objects.get().data["anomalies"]] == ["", "bob"]


@pytest.mark.usefixtures("history")
def test_a_missing_day_is_a_drop_until_its_events_arrive(organization: Organization, credential: APICredential) -> None:
    morning = MIDNIGHT + DAY + 6 * HOUR
    assert detect_anomalies(organization=organization, now=morning - HOUR) == 0
    assert detect_anomalies(organization=organization, now=morning) == 1
    anomaly = Anomaly.objects.get()
    assert (anomaly.is_rise, anomaly.unit, anomaly.actual_usd, round(anomaly.expected_usd)) == (False, "day", 0, 30)

    send(organization, credential, *(call(MIDNIGHT + hour * HOUR, 10) for hour in WORKING_HOURS), now=morning + HOUR)
    assert detect_anomalies(organization=organization, now=morning + DAY) == 0, "the next day is missing too"
    windows = AnomalyWindow.objects.filter(scope="organization").values_list("starts_at", "actual_usd")
    assert list(windows) == [(MIDNIGHT + DAY, 0)]


@pytest.mark.usefixtures("history")
def test_a_day_that_does_not_begin_with_a_full_hour_is_compared_too(organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="Asia/Kolkata")
    organization.refresh_from_db()
    assert detect_anomalies(organization=organization, now=MIDNIGHT + DAY + HOUR) == 1
    anomaly = Anomaly.objects.get()
    assert (anomaly.is_rise, anomaly.ends_at - anomaly.starts_at) == (False, DAY)
    assert anomaly.starts_at == MIDNIGHT - 5 * HOUR


@pytest.mark.usefixtures("history")
def test_what_was_corrected_is_withdrawn(organization: Organization, credential: APICredential) -> None:
    at = MIDNIGHT + 10 * HOUR
    send(organization, credential, call(at - HOUR, 10), call(at, 500), call(at + HOUR, 10), now=at + 2 * HOUR)
    assert detect_anomalies(organization=organization, now=at + 2 * HOUR) == 1
    event = UsageEvent.objects.get(event_id__contains="500")
    void(organization=organization, event_id=event.pk, reason="Test run", actor="ada", now=at + 3 * HOUR)
    send(organization, credential, call(at, 10), now=at + 4 * HOUR)
    assert detect_anomalies(organization=organization, now=MIDNIGHT + DAY + 6 * HOUR) == 0
    assert Anomaly.objects.get().withdrawn_at is not None
    assert not AnomalyWindow.objects.exists()


def test_new_organizations_and_small_amounts_are_quiet(organization: Organization, credential: APICredential) -> None:
    days = [MIDNIGHT - number * DAY for number in range(1, 50)]
    at = MIDNIGHT + 10 * HOUR
    assert detect_anomalies(organization=organization, now=NOW) == 0
    small = [call(day + hour * HOUR, "0.01") for day in days for hour in WORKING_HOURS]
    send(organization, credential, *small, call(at, "0.9"), now=NOW)
    assert detect_anomalies(organization=organization, now=NOW) == 0
    send(organization, credential, call(at, "0.2"), now=NOW)
    assert detect_anomalies(organization=organization, now=NOW) == 1
