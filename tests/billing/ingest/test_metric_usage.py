"""Metrics of senders that export nothing else are usage: each token once, and never beside logs and spans."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from billing.api import metric_senders
from billing.ingest import otlp
from billing.ingest.metric_senders import add_metric_sender, remove_metric_sender
from billing.ingest.otlp import protobuf
from billing.ingest.services import ingest
from billing.models import MetricSender, UsageEvent
from billing.reports import intake_health
from billing.reports.intake_health import list_coverages
from billing.reports.metric_senders import MetricTokens, list_metric_tokens, metric_tokens
from billing.rollups.fold import fold
from billing.rollups.verify import verify
from costtrack.errors import ConflictError
from organizations.models import Organization
from organizations.types import Scope
from tests.billing.ingest.test_coverage import MINUTE, START, _exports, record
from tests.conftest import make_key
from tests.otlp import log, logs, metrics, point
from tests.profiles import examples
from tests.usage import NOW, set_price, total_cost

AGENT = {"model": "claude-sonnet-4-5", "user.email": "ada@acme.example", "session.id": "s-1"}
PRICES = {"input": "3", "output": "15", "cache_read": "0.3", "cache_creation": "3.75"}


@pytest.fixture(autouse=True)
def _sender(organization: Organization) -> None:
    set_price("claude-sonnet-4-5", provider="anthropic", organization=organization, **PRICES)
    add_metric_sender(organization=organization, name="claude-code", actor="ada", now=NOW)


def usage(by_type: Mapping[str, int], *, minute: int = 1, name: str = "type", **attributes: Any) -> Any:
    """An export of deltas of one minute."""
    at = START + minute * MINUTE
    points = [
        point(tokens, at=at, since=at - MINUTE, attributes={name: kind, **AGENT, **attributes})
        for kind, tokens in by_type.items()
    ]
    return metrics(points)


def send_log(organization: Organization, *, minute: int, tokens: int = 10) -> None:
    attributes = {**AGENT, "input_tokens": tokens, "output_tokens": 1, "request_id": f"req_0000000{minute}"}
    record = log(attributes, at=START + minute * MINUTE, event_name="claude_code.api_request")
    body = logs([record], resource={"service.name": "claude-code"}).SerializeToString()
    parsed = otlp.to_events(protobuf.logs(body, max_records=10), now=NOW)
    ingest(organization=organization, credential=None, format="otlp", parsed=parsed, now=NOW)


def net(column: str) -> int:
    total: int = UsageEvent.objects.aggregate(total=Sum(column))["total"] or 0
    return total


def test_the_tokens_of_a_minute_are_an_aggregate(organization: Organization) -> None:
    export = usage(
        {"input": 1000, "output": 100, "cacheRead": 5000, "cacheCreation": 200}, model="claude-sonnet-4-5[1m]"
    )
    record(organization, export, export)
    event = UsageEvent.objects.get()
    assert (event.source, event.service, event.model, event.session_id, event.user_ref) == (
        *("otlp-metrics", "anthropic", "claude-sonnet-4-5", "s-1", "ada@acme.example"),
    )
    assert event.occurred_at == START + MINUTE
    assert (event.input_tokens, event.output_tokens, event.cache_read_tokens, event.cache_creation_tokens) == (
        *(1000, 100, 5000, 200),
    )
    assert event.token_cost_usd == Decimal("0.00675")
    assert [flag["code"] for flag in event.flags or ()] == ["aggregate"]
    assert MetricSender.objects.get().metric == "claude_code.token.usage"


def test_models_users_and_sessions_are_events_of_their_own(organization: Organization) -> None:
    both = usage({"input": 10, "output": 1})
    others: list[dict[str, Any]] = [
        {"model": "claude-haiku-4-5"},
        {"user.email": "bea@acme.example"},
        {"session.id": "s-2"},
    ]
    for changes in others:
        both.MergeFrom(usage({"input": 20}, **changes))
    record(organization, both)
    rows = UsageEvent.objects.values_list("model", "user_ref", "session_id", "input_tokens").order_by("id")
    assert set(rows) == {
        ("claude-sonnet-4-5", "ada@acme.example", "s-1", 10),
        ("claude-haiku-4-5", "ada@acme.example", "s-1", 20),
        ("claude-sonnet-4-5", "bea@acme.example", "s-1", 20),
        ("claude-sonnet-4-5", "ada@acme.example", "s-2", 20),
    }


SENDERS = [
    (
        "codex.turn.token_usage",
        "token_type",
        {"total": 321, "input": 300, "cached_input": 200, "output": 21, "reasoning_output": 10},
        (100, 200, 21, 10),
    ),
    (
        "gemini_cli.token.usage",
        "type",
        {"input": 300, "output": 20, "thought": 10, "tool": 5, "cache": 100},
        (205, 100, 30, 10),
    ),
    ("gen_ai.client.token.usage", "gen_ai.token.type", {"input": 300, "output": 21}, (300, 0, 21, 0)),
]


@pytest.mark.parametrize(("name", "attribute", "by_type", "expected"), SENDERS, ids=[row[0] for row in SENDERS])
def test_parts_of_totals_are_counted_once(
    organization: Organization, name: str, attribute: str, by_type: Mapping[str, int], expected: tuple[int, ...]
) -> None:
    add_metric_sender(organization=organization, name="agent", actor="ada", now=NOW)
    points = [point(tokens, at=NOW, since=START, attributes={attribute: kind}) for kind, tokens in by_type.items()]
    record(organization, metrics(points, name=name, resource={"service.name": "agent"}))
    event = UsageEvent.objects.get()
    counts = (event.input_tokens, event.cache_read_tokens, event.output_tokens, event.reasoning_tokens or 0)
    assert counts == expected


def test_counters_of_the_conventions_include_caches_and_come_before_histograms(organization: Organization) -> None:
    add_metric_sender(organization=organization, name="agent", actor="ada", now=NOW)
    export, resource = metrics([], resource={"service.name": "agent"}), {"service.name": "agent"}
    attributes = {"gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5"}
    for name, tokens in (
        ("client.token.usage", 999),
        ("client.inference.operation.input_tokens", 300),
        ("client.inference.usage.input_tokens", 300),
        ("client.inference.usage.cache_read.input_tokens", 100),
        ("client.inference.usage.output_tokens", 20),
    ):
        typed = {**attributes, "gen_ai.token.type": "input"}
        points = [point(tokens, at=NOW, since=START, attributes=typed)]
        export.MergeFrom(metrics(points, name=f"gen_ai.{name}", resource=resource))
    record(organization, export)
    event = UsageEvent.objects.get()
    assert (event.service, event.input_tokens, event.cache_read_tokens, event.output_tokens) == (
        *("anthropic", 200, 100, 20),
    )


def test_other_senders_stay_a_check(organization: Organization) -> None:
    record(organization, metrics([point(5, at=NOW, since=START)], resource={"service.name": "app"}))
    assert not UsageEvent.objects.exists()
    record(organization, usage({"input": 5}))
    assert [item.source for item in list_coverages(since=START - timedelta(days=1))] == ["app"]


def test_logs_come_first_whichever_arrives_first(organization: Organization) -> None:
    """The hours of START are 9 and 10. A log replaces the metrics of its hour and of the next one."""
    send_log(organization, minute=1)
    record(
        organization, usage({"input": 10}, minute=2), usage({"input": 10}, minute=62), usage({"input": 7}, minute=122)
    )
    assert net("input_tokens") == 10 + 7
    record(organization, usage({"input": 3}, minute=123), usage({"input": 2}, minute=-1))
    assert net("input_tokens") == 10 + 7 + 3 + 2
    send_log(organization, minute=121)
    send_log(organization, minute=121)
    assert net("input_tokens") == 10 + 2 + 10
    fold(now=NOW)
    assert all(not checked.differences for checked in verify(organization_id=organization.pk, now=NOW))


def test_a_sender_that_is_removed_is_a_check_again(organization: Organization) -> None:
    record(organization, usage({"input": 10}))
    remove_metric_sender(organization=organization, sender=MetricSender.objects.get(), actor="ada")
    record(organization, usage({"input": 10}, minute=2))
    assert net("input_tokens") == 10
    assert total_cost(UsageEvent.objects.all()) == Decimal("0.00003")


_RUNS = st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), min_size=1, max_size=4)
_instances = iter(range(10**6))


@examples(10)
@given(runs=_RUNS, is_delta=st.booleans(), order=st.randoms(use_true_random=False))
def test_retries_restarts_and_any_order_give_the_sum_of_all_tokens(
    organization: Organization, runs: list[list[int]], *, is_delta: bool, order: Any
) -> None:
    """Each run of a process starts its series again. Exports are repeated, and arrive in any order."""
    before = net("input_tokens")
    exports: list[Any] = [
        export for number, run in enumerate(runs) for export in _exports(run, START + number * 10 * MINUTE, is_delta)
    ]
    sent = exports + order.choices(exports, k=3)
    order.shuffle(sent)
    resource = {"service.name": "claude-code", "service.instance.id": str(next(_instances))}
    record(organization, *(metrics([item], is_delta=is_delta, resource=resource) for item in sent))
    assert net("input_tokens") - before == sum(map(sum, runs))


def client_with(organization: Organization, *scopes: Scope) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_key(organization, *scopes).api_key}")
    return client


def test_the_setting_has_an_api(organization: Organization) -> None:
    path = f"/organizations/{organization.slug}/metric-senders"
    manager = client_with(organization, Scope.MANAGE, Scope.COSTS_READ)
    created = manager.post(path, {"name": " gemini-cli "}, format="json")
    assert (created.status_code, created.json()["name"], created.json()["metric"]) == (201, "gemini-cli", "")
    assert manager.post(path, {"name": "gemini-cli"}, format="json").status_code == 409
    assert manager.post(path, {"name": " "}, format="json").status_code == 422
    assert [row["name"] for row in manager.get(path).json()["results"]] == ["claude-code", "gemini-cli"]
    assert manager.delete(f"{path}/{created.json()['id']}").status_code == 204
    reader = client_with(organization, Scope.COSTS_READ)
    assert (reader.get(path).status_code, reader.post(path, {"name": "x"}, format="json").status_code) == (200, 403)
    with pytest.raises(ConflictError):
        add_metric_sender(organization=organization, name="claude-code", actor="ada", now=NOW)


def test_what_a_sender_has_in_metrics_and_what_is_missing_is_shown(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(organization, usage({"input": 1000, "output": 100}, model="claude-sonnet-4-5"))  # counted: no logs yet
    record(organization, usage({"input": 4000}, minute=119, model="claude-sonnet-4-5"))
    send_log(organization, minute=118, tokens=2999)
    [sender] = MetricSender.objects.all()
    in_hour, later = START + 119 * MINUTE, START + 121 * MINUTE
    shown = MetricTokens(current_hour=4000, last_day=5100, last_day_missing=1000, is_counted=False)
    assert metric_tokens(organization, [sender], in_hour) == {sender.pk: shown}
    assert metric_tokens(organization, [sender], START + timedelta(hours=27))[sender.pk] == MetricTokens()
    shown = MetricTokens(last_day=5100, last_day_missing=1000)
    assert list_metric_tokens(now=later, max_senders=5, max_rows=100) == [("claude-code", shown)]

    monkeypatch.setattr(intake_health, "utc_now", lambda: later)
    [check] = [check for check in intake_health.intake_checks() if check.name == "metric_sender_1"]
    assert (check.title, check.ok, check.details["Missing"]) == ("claude-code", False, "1,000 (19%)")
    monkeypatch.setattr(metric_senders, "utc_now", lambda: in_hour)
    path = f"/organizations/{organization.slug}/metric-senders"
    [row] = client_with(organization, Scope.COSTS_READ).get(path).json()["results"]
    fields = ("current_hour_tokens", "last_day_tokens", "last_day_missing_tokens")
    assert [row[name] for name in fields] == [4000, 5100, 1000]
