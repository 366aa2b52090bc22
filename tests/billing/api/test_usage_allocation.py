"""`/usage/allocation`: shared cost is split by dated rules, exactly, and the past stays as it is."""

import csv
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from itertools import product
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from billing.models import AllocationRule
from billing.month_closing import close_month
from billing.reports.allocation.allocation import allocations
from billing.reports.allocation.rules import AllocationBasis, SplitRule
from billing.reports.months import ReportMonth
from billing.reports.usage.sources import UsageSource
from billing.rollups.fold import fold
from billing.types import AllocationTarget, SplitMethod
from costtrack.calendar import Span
from costtrack.clock import iso
from organizations.models import AuditEntry, Organization
from organizations.types import Role, Scope
from tests.conftest import make_key
from tests.profiles import examples
from tests.usage import send_events

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
URL, RULES = "/usage/allocation", "/usage/allocation/rules"
EVEN = {"name": "Without a team", "starts": "2026-10", "method": "even"}

pytestmark = pytest.mark.usefixtures("whole_history")


@pytest.fixture(autouse=True)
def _november() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def spend(api: APIClient, usd: str, month: int = 10, **fields: Any) -> None:
    event = {"kind": "compute", "cost_usd": usd, "occurred_at": f"2026-{month:02}-15T12:00:00Z", **fields}
    assert api.post("/usage/events", event).json()["accepted"] == 1


def create(api: APIClient, **fields: Any) -> Any:
    answer = api.post(RULES, {**EVEN, **fields})
    assert answer.status_code == 201, answer.content
    return answer.json()


def get(api: APIClient, query: str = "month=2026-10", path: str = URL) -> Any:
    answer = api.get(f"{path}?{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def totals(body: Any) -> dict[str, str]:
    rows = {row["target"]: row["total_usd"] for row in (*body["targets"], body["unallocated"])}
    assert sum(map(Decimal, rows.values())) == Decimal(body["cost_usd"])
    return rows


def test_usage_without_a_team_is_split_evenly_to_the_last_digit(api: APIClient) -> None:
    for team, usd in (("a", "1"), ("b", "2"), ("c", "3"), ("", "0.1")):
        spend(api, usd, team=team)
    before = get(api)
    assert totals(before) == {"c": "3", "b": "2", "a": "1", "": "0.1"}
    assert (before["direct_share"], before["allocated_share"]) == (0.983607, 0.983607)
    create(api)
    for _ in range(2):
        after = get(api)
        assert totals(after) == {
            "c": "3.033333333333333333333333",
            "b": "2.033333333333333333333333",
            "a": "1.033333333333333333333334",
            "": "0",
        }
        assert (
            after["cost_usd"]
            == "6.1"
            == get(api, "start_date=2026-10-01&end_date=2026-10-31", "/usage/summary")["cost_usd"]
        )
        assert (after["direct_share"], after["allocated_share"]) == (0.983607, 1.0)
        fold(now=NOW)


def test_a_shared_key_is_split_by_requests_and_a_model_by_percentages(
    api: APIClient, organization: Organization
) -> None:
    shared = make_key(organization, *Scope, name="shared")

    def call(client: APIClient, times: int, model: str = "gpt-4o", cost_usd: str = "1", **fields: Any) -> None:
        event = {"service": "openai", "model": model, "cost_usd": cost_usd, "occurred_at": "2026-10-15T12:00:00Z"}
        assert client.post("/usage/events", [{**event, **fields}] * times).json()["accepted"] == times

    call(api, 3, team="core")
    call(api, 1, team="ops")
    call(shared.client(), 2)
    call(shared.client(), 8, model="gpt-4o-mini", cost_usd="0.25", team="core")
    create(
        api,
        name="Shared key",
        method="proportional",
        measure="requests",
        source={"client_id": [shared.credential.client_id]},
        without_target_only=False,
        targets=[{"name": "core"}, {"name": "ops"}],
    )
    body = get(api)
    # 11 and 1 requests; the key's cost is 2 + 8 x 0.25, of which core's own 2 are taken.
    assert totals(body) == {"core": "6.666666666666666666666667", "ops": "1.333333333333333333333333", "": "0"}
    assert body["rules"][0]["shares"][0]["percent"] == 91.666667
    create(
        api,
        name="A model",
        method="fixed",
        position=2,
        source={"model": ["openai/GPT-4o"]},
        without_target_only=False,
        targets=[{"name": "core", "percent": "25"}, {"name": "search", "percent": "75"}],
    )
    body = get(api)
    assert [rule["name"] for rule in body["rules"]] == ["Shared key", "A model"]
    assert [rule["source_usd"] for rule in body["rules"]] == ["4", "4"]  # no call is split twice
    assert totals(body)["search"] == "3"


def test_a_version_applies_from_its_month_on_and_earlier_months_stay_as_they_are(api: APIClient) -> None:
    for month in (9, 10, 11):
        spend(api, "4", month, team="a")
        spend(api, "2", month)
    create(api, targets=[{"name": "a"}])
    create(api, starts="2026-11", targets=[{"name": "b"}])
    created = create(api, name="Later", starts="2026-12")
    assert [created["applies"], created["ended"]] == [False, False]
    shares = get(api, "months=4", f"{URL}/months")["months"]
    assert [(row["month"], row["allocated_usd"]) for row in shares] == [
        ("2026-08", "0"),
        ("2026-09", "4"),
        ("2026-10", "6"),
        ("2026-11", "6"),
    ]
    assert [row["allocated_share"] for row in shares] == [None, 0.666667, 1.0, 1.0]
    assert totals(get(api)) == {"a": "6", "": "0"}
    assert totals(get(api, "")) == {"a": "4", "b": "2", "": "0"}
    (version,) = [row["id"] for row in get(api, "", RULES)["results"] if row["applies"]]
    end = f"{RULES}/{version}/end"
    assert api.post(end, {"starts": "2026-10"}).status_code == 422
    assert api.post(end, {"starts": "2026-11"}).json()["ended"]
    assert api.post(end, {"starts": "2026-11"}).status_code == 409
    assert totals(get(api)) == {"a": "6", "": "0"}
    assert totals(get(api, "")) == {"a": "4", "": "2"}
    actions = AuditEntry.objects.filter(action__startswith="allocation_rule").values_list("action", flat=True)
    assert sorted(actions) == ["allocation_rule.created"] * 3 + ["allocation_rule.ended"]


def test_a_preview_stores_nothing_and_is_what_the_saved_rule_gives(api: APIClient) -> None:
    spend(api, "3", team="a")
    spend(api, "2")
    rule = {**EVEN, "starts": "2026-10"}
    preview = api.post(f"{URL}/preview", rule)
    assert preview.status_code == 200, preview.content
    assert not AllocationRule.objects.exists()
    assert totals(preview.json()) == {"a": "5", "": "0"}
    create(api)
    assert get(api)["targets"] == preview.json()["targets"]


def test_cost_stays_where_it_is_if_there_is_nothing_to_divide_by(api: APIClient) -> None:
    spend(api, "2")
    create(api, method="proportional", measure="tokens")
    body = get(api)
    assert totals(body) == {"": "2"}
    assert [rule["is_split"] for rule in body["rules"]] == [False]


def test_tags_with_a_prefix_and_end_users_get_shares(api: APIClient) -> None:
    spend(api, "4", tags=["z", "project:b", "project:a"], end_user="x")
    spend(api, "1", tags=["z"], end_user="y")
    spend(api, "0.5")
    query = "month=2026-10&by=tag&tag_prefix=project:"
    assert totals(get(api, query)) == {"project:a": "4", "": "1.5"}
    create(api, by="tag", tag_prefix="project:", source={"tag": ["z"]}, targets=[{"name": "project:c"}])
    assert totals(get(api, query)) == {"project:a": "4", "project:c": "1", "": "0.5"}
    create(api, by="tag", tag_prefix="project:", name="Untagged", source={"tag": [""]}, targets=[{"name": "project:d"}])
    assert totals(get(api, query)) == {"project:a": "4", "project:c": "1", "project:d": "0.5", "": "0"}
    create(api, by="end_user", method="proportional", measure="cost")
    assert totals(get(api, "month=2026-10&by=end_user")) == {"x": "4.4", "y": "1.1", "": "0"}


def test_months_are_those_of_the_organization(api: APIClient, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="Pacific/Auckland")
    spend(api, "1", team="a", occurred_at="2026-09-30T11:00:00Z")
    spend(api, "2", team="a", occurred_at="2026-09-30T10:59:59Z")
    assert get(api)["cost_usd"] == "1"
    assert get(api, "month=2026-09")["cost_usd"] == "2"


def test_the_files_have_the_rows_of_the_page_and_the_shares_of_the_rules(api: APIClient) -> None:
    spend(api, "1", team="=a")
    spend(api, "2")
    create(api)
    query = "month=2026-10&format="
    file = api.get(f"{URL}/file?{query}csv").getvalue().decode()
    rows = list(csv.DictReader(StringIO(file)))
    assert [(row["target"], row["total_usd"]) for row in rows] == [("'=a", "3"), ("", "0")]
    shares = json.loads(api.get(f"{URL}/file?{query}json&rows=shares").getvalue())
    assert [(row["rule"], row["target"], row["taken_usd"], row["given_usd"]) for row in shares] == [
        ("Without a team", "", "2", None),
        ("Without a team", "=a", None, "2"),
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": " "}, "name"),
        ({"starts": "2026-13"}, "starts"),
        ({"starts": "1999-01"}, "starts"),
        ({"method": "fixed"}, "targets"),
        ({"method": "fixed", "targets": [{"name": "a", "percent": "99.9"}]}, "targets"),
        ({"targets": [{"name": "a", "percent": "100"}]}, "targets"),
        ({"targets": [{"name": "a"}, {"name": " a"}]}, "targets"),
        ({"method": "proportional"}, "measure"),
        ({"measure": "cost"}, "measure"),
        ({"method": "proportional", "measure": "cost", "measures_source": True}, "measures_source"),
        ({"without_target_only": False}, "source"),
        ({"source": {"run_id": ["a"]}}, "source"),
        ({"tag_prefix": "a"}, "tag_prefix"),
        ({"by": "tag", "tag_prefix": "a", "targets": [{"name": "b"}]}, "targets"),
        ({"position": 0}, "position"),
    ],
)
def test_an_invalid_rule_is_refused_with_its_field(api: APIClient, fields: dict[str, Any], param: str) -> None:
    for path in (RULES, f"{URL}/preview"):
        answer = api.post(path, {**EVEN, **fields})
        assert (answer.status_code, param in answer.content.decode()) == (422, True), answer.content
    assert not AllocationRule.objects.exists()


def test_readers_cannot_change_rules_and_nothing_of_others_is_seen(
    api: APIClient, other_api: APIClient, organization: Organization
) -> None:
    reader = make_key(organization, Scope.COSTS_READ, name="reader").client()
    version = create(api)["id"]
    assert reader.post(RULES, EVEN).status_code == reader.post(f"{RULES}/{version}/end", {}).status_code == 403
    assert len(get(reader, "", RULES)["results"]) == 1
    assert get(other_api, "", RULES)["results"] == []
    assert other_api.post(f"{RULES}/{version}/end", {"starts": "2026-12"}).status_code == 404
    assert api.get(f"{URL}?month=2026-1").status_code == api.get(f"{URL}?by=model").status_code == 422


VALUES = st.lists(st.sampled_from(("", "a", "b")), max_size=2)
SOURCES = st.fixed_dictionaries({}, optional={"team": VALUES, "model": VALUES, "tag": VALUES, "environment": VALUES})


@examples(15)
@given(st.lists(st.tuples(SOURCES, st.booleans()), min_size=1, max_size=3), st.booleans())
def test_the_rule_of_an_event_is_the_same_in_the_database_and_in_python(
    organization: Organization,
    rules: list[tuple[dict[str, list[str]], bool]],
    by_tag: bool,  # noqa: FBT001 - drawn
) -> None:
    basis = AllocationBasis(AllocationTarget.TAG, "a") if by_tag else AllocationBasis(AllocationTarget.TEAM)
    usage = list(product(("", "a"), ("a", "b"), ((), ("a",), ("b", "ab"))))
    events = [
        {
            "id": f"event-{number}",
            "kind": "compute",
            "cost_usd": str(2**number),
            "team": team,
            "model": model,
            "tags": tags,
            "occurred_at": iso(NOW - timedelta(hours=1)),
        }
        for number, (team, model, tags) in enumerate(usage)
    ]
    send_events(organization, *events, now=NOW)
    drafts = [_draft(index, *rule) for index, rule in enumerate(rules)]
    expected: dict[str, int] = {}
    for number, (team, model, tags) in enumerate(usage):
        dimensions = {"team": team, "model": model, "tag": tags, "environment": ""}
        name = next((rule.name for rule in drafts if rule.contains(basis, dimensions)), "")
        expected[name] = expected.get(name, 0) + 2**number
    for index, rule in enumerate(rules):
        AllocationRule.objects.create(
            organization=organization,
            target=basis.target.value,
            tag_prefix=basis.tag_prefix,
            name=str(index),
            starts=date(2026, 11, 1),
            source=rule[0],
            without_target_only=rule[1],
            method="even",
            targets={"ab": None},
            actor="tests",
            created_at=NOW,
        )
    month = ReportMonth(date(2026, 11, 1), Span(NOW - timedelta(days=1), NOW))
    (allocation,) = allocations(organization=organization, basis=basis, months=[month])
    got = {result.rule.name: int(result.source_usd) for result in allocation.rules}
    assert {name: usd for name, usd in got.items() if usd} == {name: usd for name, usd in expected.items() if name}
    AllocationRule.objects.all().delete()


def _draft(index: int, source: dict[str, list[str]], without_target_only: bool) -> SplitRule:  # noqa: FBT001 - drawn
    return SplitRule(str(index), SplitMethod.EVEN, source=UsageSource(source), without_target_only=without_target_only)


def test_a_closed_month_stays_as_it_is_and_what_comes_later_is_allocated_in_the_open_month(
    api: APIClient, organization: Organization
) -> None:
    for team, usd in (("a", "1"), ("b", "2"), ("", "4")):
        spend(api, usd, team=team)
    create(api)
    before = get(api)
    assert (before["is_booked"], before["closed_at"]) == (False, None)
    close_month(organization=organization, month=date(2026, 10, 1), acting_as=Role.OWNER, actor="tests", now=NOW)
    closed = get(api)
    assert closed["is_booked"]
    file = api.get(f"{URL}/file?month=2026-10").getvalue()

    spend(api, "0.5", team="")
    spend(api, "8", 11, team="b")
    spend(api, "1", team="b", tags=["x", "y"])
    create(api, starts="2026-11", targets=[{"name": "c"}])
    for path in (RULES, f"{URL}/preview"):
        refused = api.post(path, {**EVEN, "starts": "2026-10"})
        assert (refused.status_code, refused.json()["code"]) == (409, "month_closed")
    for _ in range(2):
        october, november = get(api), get(api, "month=2026-11")
        assert {name: october[name] for name in before if name not in ("as_of", "is_booked", "closed_at")} == {
            name: before[name] for name in before if name not in ("as_of", "is_booked", "closed_at")
        }
        assert api.get(f"{URL}/file?month=2026-10").getvalue() == file
        assert totals(november) == {"b": "9", "c": "0.5", "": "0"}
        assert get(api, "month=2026-11&by=tag")["cost_usd"] == november["cost_usd"]
        fold(now=NOW)
    (version, *_) = [row["id"] for row in get(api, "", RULES)["results"] if row["starts"] == "2026-10"]
    assert api.post(f"{RULES}/{version}/end", {"starts": "2026-10"}).status_code == 409
    months = get(api, "months=2", f"{URL}/months")["months"]
    assert [row["cost_usd"] for row in months] == ["7", "9.5"]
