"""The figures of `/usage/summary`, `/usage/timeseries`, `/usage/capabilities` and `/usage/credentials` beside a plain
list of calls: in any time zone, for any range, folded or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import time_machine
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.ingest import json_events
from billing.ingest.services import ingest
from billing.models import UsageEvent
from billing.rollups.fold import fold
from costtrack.calendar import Calendar
from organizations.models import APICredential, Organization
from tests.billing.api.usage_model import Counted, figures, shown
from tests.conftest import Key, make_key
from tests.profiles import examples
from tests.usage import NOW

ZONES = ("UTC", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe")
# Around the changes of the clocks in New York (November 1, 6:00 UTC) and on Lord Howe (October 3, 15:30 UTC).
CHANGES = (datetime(2026, 11, 1, 6, tzinfo=UTC), datetime(2026, 10, 3, 15, 30, tzinfo=UTC))
TICK = timedelta(microseconds=1)

# When, what, and whether with a credential.
Sent = list[tuple[datetime, dict[str, Any], bool]]

moments = st.one_of(
    st.builds(
        lambda zone, day, minutes, ticks: (
            Calendar(ZoneInfo(zone)).start_of(day) + timedelta(minutes=minutes) + ticks * TICK
        ),
        st.sampled_from(ZONES),
        st.dates(date(2026, 10, 28), date(2026, 11, 2)),
        st.sampled_from((-30, 0, 30)),
        st.sampled_from((-1, 0, 1)),
    ),
    st.datetimes(datetime(2026, 9, 28), datetime(2026, 11, 2, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    st.builds(
        lambda change, minutes, ticks: change + timedelta(minutes=minutes) + ticks * TICK,
        st.sampled_from(CHANGES),
        st.sampled_from((-720, -60, -30, 0, 30, 60, 720)),
        st.sampled_from((-1, 0, 1)),
    ),
    st.builds(
        lambda days, ticks: NOW - timedelta(days=days) + ticks * TICK, st.integers(0, 8), st.sampled_from((0, 1))
    ),
)
bodies = st.fixed_dictionaries(
    {
        "model": st.sampled_from(("", "gpt-4o", "claude")),
        "capability": st.sampled_from(("", "chat", "embeddings")),
        "status": st.sampled_from(("success", "failure")),
        "input_tokens": st.integers(0, 5_000),
        "output_tokens": st.integers(0, 5_000),
        "cache_read_tokens": st.integers(0, 500),
        "cache_creation_tokens": st.integers(0, 50),
    },
    optional={"cost_usd": st.sampled_from(("0", "0.1", "0.000000000000000000000001", "12345.678901"))},
)
calls = st.lists(st.tuples(moments, bodies, st.booleans()), max_size=25)
filters = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(("gpt-4o", "claude", "unknown")),
        "capability": st.sampled_from(("chat", "unknown")),
        "status": st.sampled_from(("success", "failure", "error")),
        "client_id": st.sampled_from(("ours", "none", "ct_unknown")),
    },
)
ranges = st.one_of(
    st.sampled_from(
        ("today", "day", "yesterday", "7d", "week", "last_week", "month", "month_to_date", "last_month", "30d", "90d")
    ).map(lambda name: {"range": name}),
    st.lists(st.dates(date(2026, 9, 25), NOW.date()), min_size=2, max_size=2).map(
        lambda days: {"start_date": min(days).isoformat(), "end_date": max(days).isoformat()}
    ),
    st.lists(moments, min_size=2, max_size=2, unique=True).map(
        lambda times: {"start_date": min(times).isoformat(), "end_date": max(times).isoformat()}
    ),
)


class Stage:
    """Two organizations. What one sends is written down; the other one has always sent something of its own."""

    def __init__(self, organization: Organization, other: Organization, key: Key) -> None:
        self.organization, self.key = organization, key
        self.credential = make_key(organization, name="ours").credential
        self.calls: list[Counted] = []
        _record(other, [{"cost_usd": "99999", "occurred_at": NOW.isoformat(), "capability": "theirs"}], None)

    @contextmanager
    def example(self, zone: str, folded: Sent, unfolded: Sent) -> Iterator[None]:
        """These calls, and nothing of them afterwards."""
        with transaction.atomic():
            self.calls = []
            Organization.objects.filter(pk=self.organization.pk).update(time_zone=zone)
            self._send(folded)
            fold(now=NOW)
            self._send(unfolded)
            assert UsageEvent.objects.of(self.organization).count() == len(self.calls)
            yield
            transaction.set_rollback(True)

    def _send(self, sent: Sent) -> None:
        for is_own in (True, False):
            bodies = [{**body, "occurred_at": at.isoformat()} for at, body, has in sent if has is is_own]
            if bodies:
                _record(self.organization, bodies, self.credential if is_own else None)
        self.calls += [Counted(at, body, self.credential.client_id if has else "") for at, body, has in sent]

    def ask(self, path: str, *queries: dict[str, str]) -> dict[str, Any]:
        query = {name: value for given in queries for name, value in given.items()}
        if query.get("client_id") == "ours":
            query["client_id"] = self.credential.client_id
        with time_machine.travel(NOW, tick=False):
            response = self.key.client().get(f"/usage/{path}", query)
        assert response.status_code == 200, response.content
        answer: dict[str, Any] = response.json()
        return answer

    def matching(self, filters: dict[str, str], *windows: dict[str, str]) -> list[Counted]:
        """The calls that pass the filters, and lie in the windows if there are any."""
        spans = [tuple(map(datetime.fromisoformat, (window["start"], window["end"]))) for window in windows]
        return [
            call
            for call in self.calls
            if self._passes(call, filters) and all(start <= call.at < end for start, end in spans)
        ]

    def _passes(self, call: Counted, filters: dict[str, str]) -> bool:
        client_ids = {"ours": self.credential.client_id, "none": ""}
        facts = {
            "model": call.body["model"],
            "capability": call.body["capability"],
            "status": call.body["status"],
            "client_id": call.client_id,
        }
        dimensions = {**filters}
        if dimensions.get("status") == "error":
            dimensions["status"] = "failure"
        if "client_id" in dimensions:
            dimensions["client_id"] = client_ids.get(dimensions["client_id"], "nobody's")
        return all(facts[name] == value for name, value in dimensions.items())


def _record(organization: Organization, bodies: list[dict[str, Any]], credential: APICredential | None) -> None:
    parsed = json_events.parse(msgspec.json.encode(bodies), content_type="", max_events=100, now=NOW)
    result = ingest(organization=organization, credential=credential, format="json", parsed=parsed, now=NOW)
    assert result.accepted == len(bodies)


@pytest.fixture
def stage(organization: Organization, other_organization: Organization, key: Key) -> Stage:
    Organization.objects.update(plan="enterprise")
    return Stage(organization, other_organization, key)


many = examples(16)
zones = st.sampled_from(ZONES)


@many
@given(zone=zones, folded=calls, unfolded=calls, chosen=ranges, filters=filters)
def test_a_summary_is_what_was_sent(
    stage: Stage, zone: str, folded: Sent, unfolded: Sent, chosen: dict[str, str], filters: dict[str, str]
) -> None:
    with stage.example(zone, folded, unfolded):
        answer = stage.ask("summary", chosen, filters)

        of_window = stage.matching(filters, answer["window"])
        assert shown(answer) == figures(of_window)
        previous = answer["previous"]
        assert shown(previous) == figures(stage.matching(filters, previous["window"]))

        by_day: dict[str, list[Counted]] = {day["date"]: [] for day in answer["daily"]}
        for call in of_window:
            by_day[call.at.astimezone(ZoneInfo(zone)).date().isoformat()].append(call)
        for day in answer["daily"]:
            expected = figures(by_day[day["date"]])
            assert day == {"date": day["date"], **{name: expected[name] for name in list(day) if name != "date"}}


@many
@given(zone=zones, folded=calls, unfolded=calls, filters=filters)
def test_what_is_spent_now_is_of_this_day_these_seven_days_and_this_month(
    stage: Stage, zone: str, folded: Sent, unfolded: Sent, filters: dict[str, str]
) -> None:
    with stage.example(zone, folded, unfolded):
        spend = stage.ask("summary", {"range": "yesterday"}, filters)["spend"]

        sent, today = stage.matching(filters), NOW.astimezone(ZoneInfo(zone)).date()
        local = {id(call): call.at.astimezone(ZoneInfo(zone)).date() for call in sent}
        # Calls up to an hour ahead of now belong to all of them.
        of_today = [call for call in sent if local[id(call)] >= today]
        of_month = [call for call in sent if local[id(call)] >= today.replace(day=1)]
        rolling = [call for call in sent if NOW - timedelta(days=7) < call.at]
        assert spend["today_usd"] == figures(of_today)["cost_usd"]
        assert spend["month_to_date_usd"] == figures(of_month)["cost_usd"]
        assert spend["rolling_7d_usd"] == figures(rolling)["cost_usd"]


@many
@given(
    zone=zones,
    folded=calls,
    unfolded=calls,
    chosen=ranges,
    filters=filters,
    unit=st.sampled_from(("hour", "day", "week", "month")),
    by=st.sampled_from(("", "model", "capability", "credential", "status")),
)
def test_the_periods_and_the_lines_of_a_chart_add_up_to_what_was_sent(
    stage: Stage,
    zone: str,
    folded: Sent,
    unfolded: Sent,
    chosen: dict[str, str],
    filters: dict[str, str],
    unit: str,
    by: str,
) -> None:
    if unit == "hour" and len(chosen) == 1 and chosen["range"] == "90d":
        unit = "day"  # there would be too many hours
    with stage.example(zone, folded, unfolded):
        group = {"group_by": by} if by else {}
        summary = stage.ask("summary", chosen, filters)
        for view in ("requests", "tokens", "cost"):
            answer = stage.ask("timeseries", chosen, filters, group, {"view": view, "granularity": unit})
            buckets = answer["buckets"]

            assert answer["total"] == {name: summary[name] for name in answer["total"]}
            assert {"start": buckets[0]["start"], "end": buckets[-1]["end"]} == answer["window"] == summary["window"]
            assert all(first["end"] == second["start"] for first, second in pairwise(buckets))
            for index, bucket in enumerate(buckets):
                of_bucket = stage.matching(filters, bucket)
                expected = figures(of_bucket)
                assert {name: bucket[name] for name in answer["total"]} == {
                    name: expected[name] for name in answer["total"]
                }
                for line in answer["series"]:
                    of_line = figures(call for call in of_bucket if _key(call, by) == line["key"])
                    assert line["buckets"][index] == {name: of_line[name] for name in answer["total"]}
            of_window = stage.matching(filters, answer["window"])
            assert {line["key"] for line in answer["series"]} == (
                {_key(item, by) for item in of_window} if by else set()
            )


@many
@given(zone=zones, folded=calls, unfolded=calls, chosen=ranges, filters=filters)
def test_capabilities_and_credentials_share_what_was_sent(
    stage: Stage, zone: str, folded: Sent, unfolded: Sent, chosen: dict[str, str], filters: dict[str, str]
) -> None:
    with stage.example(zone, folded, unfolded):
        for path, by, name in (
            ("capabilities", "capability", "capability"),
            ("credentials", "credential", "client_id"),
        ):
            answer = stage.ask(path, chosen, filters)
            of_window = stage.matching(filters, answer["window"])
            whole = Decimal(figures(of_window)["cost_usd"])
            rows = {row[name]: row for row in answer[path]}
            assert len(rows) == len(answer[path])
            for key, row in rows.items():
                assert shown(row) == figures(call for call in of_window if _key(call, by) == key)
                share = Decimal(row["cost_usd"]) / whole if whole else 0
                assert row["cost_share"] == pytest.approx(float(share), abs=1e-6)
            assert {_key(call, by) for call in of_window} <= set(rows)
            costs = [Decimal(row["cost_usd"]) for row in answer[path]]
            assert costs == sorted(costs, reverse=True)


def _key(call: Counted, by: str) -> str:
    return call.client_id if by == "credential" else str(call.body.get(by, ""))
