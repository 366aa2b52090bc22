"""OpenTelemetry's signals of one sender that arrive at the same time."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db.models import Sum

from billing.ingest import otlp
from billing.ingest.metric_senders import add_metric_sender
from billing.ingest.otlp import protobuf
from billing.ingest.services import ingest
from billing.ingest.trace_context import TraceContext
from billing.models import UsageEvent
from organizations.models import Organization
from tests.billing.ingest.test_coverage import record
from tests.concurrency.conftest import run_concurrently
from tests.otlp import log, logs, metrics, point, span, traces
from tests.usage import NOW

pytestmark = pytest.mark.django_db(transaction=True)
CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 10}
AGENT = {"gen_ai.operation.name": "invoke_agent", "session.id": "s-1"}
ROUNDS = 5


def _send_log(organization: Organization, sender: str) -> None:
    attributes = {"model": "m", "input_tokens": 10, "request_id": f"req_{sender}"}
    body = logs([log(attributes, at=NOW, event_name="claude_code.api_request")], resource={"service.name": sender})
    parsed = otlp.to_events(protobuf.logs(body.SerializeToString(), max_records=10), now=NOW)
    ingest(organization=organization, credential=None, format="otlp", parsed=parsed, now=NOW)


def _send_span(organization: Organization, sent: Any) -> None:
    """As the endpoint does."""
    records = protobuf.spans(traces([sent]).SerializeToString(), max_records=10)
    context = TraceContext(organization, records)
    parsed = otlp.to_events(records, now=NOW, known=context.known)
    context.add(parsed.events)
    ingest(organization=organization, credential=None, format="otlp", parsed=parsed, now=NOW)
    context.complete(NOW)


def _run(*works: Callable[[], Any]) -> None:
    run_concurrently(lambda work: work(), works)


def test_metrics_and_logs_of_an_hour_are_counted_once(organization: Organization) -> None:
    for number in range(ROUNDS):
        sender = f"agent-number-{number}"
        add_metric_sender(organization=organization, name=sender, actor="ada", now=NOW)
        exports = [
            metrics([point(10, at=NOW, attributes={"type": kind, "model": "m"})], resource={"service.name": sender})
            for kind in ("input", "cacheRead")
        ]
        _run(
            *(partial(record, organization, export) for export in exports),
            partial(_send_log, organization, sender),
        )
    totals = UsageEvent.objects.aggregate(tokens=Sum("input_tokens"), cached=Sum("cache_read_tokens"))
    assert totals == {"tokens": 10 * ROUNDS, "cached": 0}


def test_a_call_and_the_agent_around_it_find_each_other(organization: Organization) -> None:
    for number in range(1, ROUNDS + 1):
        call = span(CALL, at=NOW, trace=number, number=3, parent=2)
        between = span({}, at=NOW, trace=number, number=2, parent=1)
        agent = span(AGENT, at=NOW, trace=number, number=1)
        _run(*(partial(_send_span, organization, sent) for sent in (call, between, agent)))
    requests = UsageEvent.objects.values_list("session_id").annotate(requests=Sum("requests")).exclude(requests=0)
    assert list(requests) == [("s-1", ROUNDS)]
