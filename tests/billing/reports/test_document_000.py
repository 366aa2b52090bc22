"""What document 000's reports and export say, against plain sums over everything that was sent: random events of two
organizations with the same ids, in any window, with any filter, folded or not."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.exports.pricing_zip import ExportFilter, pricing_zip
from billing.reports.pricing.daily import pricing
from billing.reports.pricing.groups import Group, GroupOrder, GroupQuery, groups
from billing.reports.pricing.run_filter import ModelKey, RunFilter
from billing.reports.rollup_reader import RollupReader
from billing.rollups.fold import fold_organization
from costtrack.calendar import Window
from costtrack.money import ZERO
from organizations.models import Organization
from tests.profiles import count
from tests.usage import NOW, Send

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
MODELS = (ModelKey("openai", "gpt-4o"), ModelKey("azure", "gpt-4o"), ModelKey("anthropic", "claude"), ModelKey("x", ""))
# Just before, at and after the boundaries of days and hours, and anywhere.
OFFSETS = [timedelta(microseconds=number) for number in (-1, 0, 1)]


@dataclass(frozen=True)
class Sent:
    body: dict[str, Any]
    at: datetime
    model: ModelKey | None
    cost: Decimal
    tokens: int
    runs: int

    def matches(self, filters: RunFilter) -> bool:
        start, end = filters.window.start, filters.window.end
        return (
            (start is None or self.at >= start)
            and (end is None or self.at < end)
            and (filters.models is None or self.model in filters.models)
            and (filters.agents is None or self.body["agent_id"] in filters.agents)
            and (filters.users is None or self.body["user_id"] in filters.users)
        )


def instant(source: random.Random) -> datetime:
    hour = FIRST + timedelta(hours=source.choice([0, 1, 23, 24, 25, 36, 47, 48, 71, 72]))
    return hour + source.choice([*OFFSETS, timedelta(seconds=source.randrange(3600))])


def made_up(source: random.Random, number: int) -> Sent:
    at, model, is_run = instant(source), source.choice(MODELS), source.random() < 0.85
    cost = Decimal(source.randrange(1000)) / 997
    cost = cost.quantize(Decimal("1e-20"))
    body: dict[str, Any] = {
        "id": f"event-{number}",
        "kind": "model_call" if is_run else "compute",
        "occurred_at": at.isoformat(),
        "cost_usd": str(cost),
        "service": model.service,
        "status": source.choice(["success", "success", "failure"]),
        "agent_id": source.choice(["", "one", "two"]),
        "user_id": source.choice(["", "ada", "bob"]),
        "group_id": source.choice(["", "g-1", "g-2", "g-3", "g-4"]),
    }
    tokens = [source.randrange(100) if is_run else 0 for _ in range(4)]
    if is_run:
        names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
        body |= {"model": model.model, **dict(zip(names, tokens, strict=True))}
    else:
        model = ModelKey("", "")
    return Sent(body, at, model if model.model else None, cost, sum(tokens), int(is_run))


def draw_filters(source: random.Random) -> Iterator[RunFilter]:
    yield RunFilter()
    for _ in range(6):
        start, end = sorted((instant(source), instant(source)))
        if start == end:
            end += timedelta(days=1)
        window = Window(source.choice([start, start, None]), source.choice([end, end, None]))
        yield RunFilter(
            window,
            models=source.choice([None, None, MODELS[:1], MODELS[1:3], ()]),
            agents=source.choice([None, None, ("one",), ("two", "nobody")]),
        )


@pytest.mark.parametrize("seed", range(count(4)))
def test_reports_say_what_was_sent(
    organization: Organization, other_organization: Organization, send: Send, seed: int
) -> None:
    source = random.Random(seed)
    sent_by: dict[Organization, list[Sent]] = {organization: [], other_organization: []}
    for row in range(3):
        for owner, sent in sent_by.items():
            events = [made_up(source, row * 40 + number) for number in range(40)]
            send(*(event.body for event in events), to=owner)
            sent_by[owner] = [*sent, *events]
        if row < seed % 4:  # nothing, a part, or all of it is folded
            fold_organization(organization_id=organization.pk, now=NOW)
            fold_organization(organization_id=other_organization.pk, now=NOW)

    for owner, sent in sent_by.items():
        for filters in draw_filters(source):
            matching = [event for event in sent if event.matches(filters)]
            _check_pricing(owner, filters, matching)
            _check_export(owner, filters, matching)
            _check_groups(owner, filters, matching)
            users = RunFilter(filters.window, filters.models, filters.agents, ("ada",))
            _check_groups(owner, users, [event for event in matching if event.body["user_id"] == "ada"])


def _check_pricing(owner: Organization, filters: RunFilter, matching: list[Sent]) -> None:
    expected: dict[tuple[date, ModelKey | None], list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for event in matching:
        sums = expected[event.at.date(), event.model]
        sums[0] += event.cost
        sums[1] += event.runs

    report = pricing(reader=RollupReader(owner), filters=filters)

    result = {(item.day, item.model): [item.cost_usd, item.runs] for item in report.daily}
    assert result == {key: sums for key, sums in expected.items() if any(sums)}
    assert report.runs == sum(event.runs for event in matching)


def _check_export(owner: Organization, filters: RunFilter, matching: list[Sent]) -> None:
    with pricing_zip(organization=owner, filters=ExportFilter(filters), now=NOW) as export:
        assert export.rows == len(matching)


_KEYS: dict[GroupOrder, Callable[[Group], Any]] = {
    GroupOrder.DATE: lambda group: group.last_at,
    GroupOrder.COST: lambda group: group.cost_usd,
    GroupOrder.TOKENS: lambda group: group.input_tokens + group.output_tokens,
    GroupOrder.RUNS: lambda group: group.runs,
}


def _check_groups(owner: Organization, filters: RunFilter, matching: list[Sent]) -> None:
    expected: dict[str, list[Sent]] = defaultdict(list)
    for event in matching:
        if event.body["group_id"]:
            expected[event.body["group_id"]].append(event)
    for order in GroupOrder:
        page = groups(organization=owner, query=GroupQuery(filters, order=order, limit=3))
        rest = groups(organization=owner, query=GroupQuery(filters, order=order, limit=3, offset=3))
        result = [*page.groups, *rest.groups]

        assert page.total == rest.total == len(expected)
        assert {group.group_id for group in result} == set(expected)
        assert len(result) == len(expected)
        keys = [_KEYS[order](group) for group in result]
        assert keys == sorted(keys, reverse=True)
    for group in result:
        of_group = expected[group.group_id]
        assert group.cost_usd == sum(event.cost for event in of_group)
        assert group.runs == sum(event.runs for event in of_group)
        assert group.input_tokens + group.output_tokens == sum(event.tokens for event in of_group)
        assert (group.first_at, group.last_at) == (min(e.at for e in of_group), max(e.at for e in of_group))
        assert set(group.models) == {event.model for event in of_group} - {None}
        assert {agent_id for agent_id, _ in group.agents} == {event.body["agent_id"] for event in of_group} - {""}
        assert set(group.users) == {event.body["user_id"] for event in of_group} - {""}
