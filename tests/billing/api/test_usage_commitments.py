"""`/usage/commitments`: fixed fees, their used and idle part, and covered usage apart from metered usage."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from billing.models import Commitment
from billing.reports.commitments import accrued
from billing.rollups.fold import fold
from billing.types import FeePeriod
from costtrack.calendar import Calendar, Span
from costtrack.money import DECIMALS
from organizations.models import AuditEntry, Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.profiles import examples

NOW = datetime(2026, 11, 16, tzinfo=UTC)
URL = "/usage/commitments"
SEAT = {
    "name": "Team plan",
    "kind": "subscription",
    "amount_usd": "30",
    "starts": "2026-10-01",
    "covers": {"model": ["claude"]},
}

pytestmark = pytest.mark.usefixtures("whole_history")


@pytest.fixture(autouse=True)
def _november() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def call(api: APIClient, usd: str, at: str = "2026-10-15T12:00:00Z", tokens: int = 0, **fields: Any) -> None:
    event = {"service": "anthropic", "model": "claude", "cost_usd": usd, "input_tokens": tokens, "occurred_at": at}
    assert api.post("/usage/events", {**event, **fields}).json()["accepted"] == 1


def create(api: APIClient, **fields: Any) -> Any:
    answer = api.post(URL, {**SEAT, **fields})
    assert answer.status_code == 201, answer.content
    return answer.json()


def report(api: APIClient, month: str = "2026-10") -> Any:
    answer = api.get(f"{URL}/report?month={month}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_covered_usage_is_apart_from_spend_and_other_reports_stay_as_they_are(api: APIClient) -> None:
    call(api, "12", tokens=3_000_000)
    call(api, "5", model="gpt-4o")
    create(api)
    for _ in range(2):
        body = report(api)
        assert (body["spend_usd"], body["metered_usd"], body["fees_usd"]) == ("35", "5", "30")
        assert (body["notional_usd"], body["idle_usd"]) == ("12", "18")
        (use,) = body["commitments"]
        assert (use["used_share"], use["used_usd"], use["idle_usd"]) == (0.4, "12", "18")
        assert (use["usd_per_million_tokens"], use["total_tokens"], use["requests"]) == ("10", 3_000_000, 1)
        summary = api.get("/usage/summary?start_date=2026-10-01&end_date=2026-10-31").json()
        assert summary["cost_usd"] == "17"
        fold(now=NOW)


def test_capacity_is_used_by_tokens_and_the_current_month_accrues(api: APIClient) -> None:
    call(api, "0.5", at="2026-11-10T12:00:00Z", tokens=216_000)
    create(api, kind="provisioned", amount_usd="2", period="hour", starts="2026-11-10", tokens_per_minute=100)
    (use,) = report(api, "2026-11")["commitments"]
    # 6 of 21 days: 144 of 504 hours, 8,640 minutes.
    assert (use["committed_usd"], use["accrued_usd"]) == ("1008", "288")
    assert (use["used_share"], use["used_usd"], use["idle_usd"]) == (0.25, "72", "216")
    assert report(api)["commitments"] == []


def test_usage_is_covered_from_the_first_to_the_last_day_by_the_first_commitment(
    api: APIClient, organization: Organization
) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="Pacific/Auckland")
    # Auckland is 13 hours ahead.
    for number, at in enumerate(("2026-10-09T10:59:59Z", "2026-10-09T11:00:00Z", "2026-10-20T10:59:59Z")):
        call(api, str(10**number), at=at)
    call(api, "1000", at="2026-10-20T11:00:00Z")
    fold(now=NOW)
    create(api, starts="2026-10-10", ends="2026-10-20")
    create(api, name="Second", starts="2026-10-20", covers={"provider": ["anthropic"]})
    body = report(api)
    assert [use["notional_usd"] for use in body["commitments"]] == ["110", "1000"]
    assert body["metered_usd"] == "1"
    assert body["commitments"][0]["committed_usd"].startswith("10.64")  # 264 of 744 hours


def test_a_commitment_is_ended_once_and_the_audit_log_has_it(api: APIClient) -> None:
    commitment = create(api)["id"]
    end = f"{URL}/{commitment}/end"
    assert api.post(end, {"ends": "2026-10-15"}).json()["ends"] == "2026-10-15"
    assert api.post(end, {"ends": "2026-10-15"}).status_code == 409
    assert api.post(end, {"ends": "2026-09-01"}).status_code == 422
    assert api.post(end, {"ends": "2026-09-30"}).status_code == 200
    assert report(api)["commitments"] == []
    actions = AuditEntry.objects.filter(action__startswith="commitment.").values_list("action", flat=True)
    assert sorted(actions) == ["commitment.created", "commitment.ended", "commitment.ended"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": " "}, "name"),
        ({"amount_usd": "0"}, "amount_usd"),
        ({"period": "week"}, "period"),
        ({"starts": "1999-01-01"}, "starts"),
        ({"ends": "2026-09-30"}, "ends"),
        ({"covers": {}}, "covers"),
        ({"covers": {"run_id": ["a"]}}, "run_id"),
        ({"tokens_per_minute": 0}, "tokens_per_minute"),
        ({"kind": "other"}, "kind"),
    ],
)
def test_invalid_terms_are_refused_with_their_field(api: APIClient, fields: dict[str, Any], param: str) -> None:
    answer = api.post(URL, {**SEAT, **fields})
    assert (answer.status_code, param in answer.content.decode()) == (422, True), answer.content
    assert not Commitment.objects.exists()


def test_readers_cannot_change_commitments_and_nothing_of_others_is_seen(
    api: APIClient, other_api: APIClient, organization: Organization
) -> None:
    reader = make_key(organization, Scope.COSTS_READ, name="reader").client()
    commitment = create(api)["id"]
    assert reader.post(URL, SEAT).status_code == reader.post(f"{URL}/{commitment}/end", {}).status_code == 403
    assert len(reader.get(URL).json()["results"]) == 1
    assert other_api.get(URL).json()["results"] == []
    assert other_api.post(f"{URL}/{commitment}/end", {"ends": "2026-12-01"}).status_code == 404
    assert report(other_api)["fees_usd"] == "0"


@examples(40)
@given(
    st.decimals(min_value="0.01", max_value=10**6, places=DECIMALS),
    st.sampled_from(FeePeriod),
    st.lists(st.integers(0, 400 * 86_400), min_size=1, max_size=4),
)
def test_parts_of_a_time_add_up_to_its_fee_and_whole_periods_to_theirs(
    amount: Decimal, period: FeePeriod, cuts: list[int]
) -> None:
    calendar = Calendar(ZoneInfo("Europe/Berlin"))
    start = calendar.start_of(datetime(2026, 1, 1).date())  # noqa: DTZ001 - a date
    end = calendar.start_of(datetime(2026, 2 if period is FeePeriod.HOUR else 12, 1).date())  # noqa: DTZ001 - a date
    inner = (start + timedelta(seconds=cut) for cut in cuts)
    boundaries = sorted({start, end, *(at for at in inner if at < end)})
    parts = [accrued(amount, period, Span(*part), calendar) for part in pairwise(boundaries)]
    assert sum(parts) == accrued(amount, period, Span(start, end), calendar)
    if period is FeePeriod.MONTH:
        assert sum(parts) == amount * 11
