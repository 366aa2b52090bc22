"""Calls that two to six sources report in any order, repeatedly and late, are each one event.

`COSTTRACK_TEST_CALLS` is the number of calls. Formats are decoded as their endpoints do; a plain
model in this file says what the calls cost.
"""

import json
import logging
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from billing.ingest import cloudevents, json_events, lago, litellm, otlp
from billing.ingest.otlp import protobuf
from billing.ingest.services import ingest
from billing.ingest.types import ParsedBatch
from billing.models import Session, UsageEvent
from billing.models.ledger import known_cost
from billing.rollups.fold import fold
from billing.rollups.verify import verify
from organizations.models import Organization
from tests.billing.ingest.litellm_payloads import with_metadata
from tests.otlp import log, logs, span, traces
from tests.usage import NOW, set_price

logger = logging.getLogger(__name__)

CALLS = int(os.environ.get("COSTTRACK_TEST_CALLS", "150"))
# Each completed event takes a lock, so many of them are too many for one transaction.
pytestmark = pytest.mark.django_db(transaction=CALLS > 1_000)
MILLION = 1_000_000
PRICES = {"input": Decimal(1), "output": Decimal(2), "cache_read": Decimal("0.1")}
_WINDOW = 2_000
"""Calls whose reports are mixed; later ones come in later windows."""


@dataclass(frozen=True)
class Call:
    """A call of the plain model. `session` is what the sources that know it say."""

    number: int
    at: datetime
    uncached: int
    cached: int
    output: int
    session: str

    @property
    def call_id(self) -> str:
        return f"chatcmpl-{self.number:010x}Zz"

    @property
    def cost_usd(self) -> Decimal:
        cost = self.uncached * PRICES["input"] + self.cached * PRICES["cache_read"] + self.output * PRICES["output"]
        return cost / MILLION

    @property
    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.uncached + self.cached,
            "completion_tokens": self.output,
            "total_tokens": self.uncached + self.cached + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }

    @property
    def attributes(self) -> dict[str, Any]:
        return {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "acme",
            "gen_ai.request.model": "small",
            "gen_ai.response.id": self.call_id,
            "gen_ai.usage.input_tokens": self.uncached + self.cached,
            "gen_ai.usage.cache_read.input_tokens": self.cached,
            "gen_ai.usage.output_tokens": self.output,
        }


Report = tuple[Call, bool]
"""A call, and whether the source knows its session."""


def _session(report: Report, name: str) -> dict[str, str]:
    call, knows_session = report
    return {name: call.session} if knows_session else {}


def _json(reports: list[Report]) -> ParsedBatch:
    events = [
        {
            "id": call.call_id,
            "service": "acme",
            "model": "small",
            "occurred_at": call.at.isoformat(),
            "usage": call.usage,
            **_session((call, knows), "session_id"),
        }
        for call, knows in reports
    ]
    body = json.dumps(events).encode()
    return json_events.parse(body, content_type="application/json", max_events=10_000, now=NOW)


def _litellm(reports: list[Report]) -> ParsedBatch:
    records = []
    for call, knows in reports:
        record = with_metadata(usage_object=call.usage, spend_logs_metadata=_session((call, knows), "session_id"))
        record |= {
            "id": call.call_id,
            "litellm_call_id": f"litellm-{call.number}",
            "trace_id": "",
            "custom_llm_provider": "acme",
            "model": "small",
            "prompt_tokens": call.uncached + call.cached,
            "completion_tokens": call.output,
            "total_tokens": call.uncached + call.cached + call.output,
            "response_cost": 0,
            "startTime": call.at.timestamp() - 2,
            "endTime": call.at.timestamp(),
        }
        records.append(json.dumps(record).encode())
    return litellm.parse(records, now=NOW)


def _spans(reports: list[Report], *, kind: Any, resource: Mapping[str, str]) -> ParsedBatch:
    made = [
        span(
            call.attributes | _session((call, knows), "gen_ai.conversation.id"),
            at=call.at,
            trace=call.number + 1,
            number=2 * call.number + 1 + (kind == 2),
            kind=kind,
        )
        for call, knows in reports
    ]
    body = traces(made, resource=resource).SerializeToString()
    return otlp.to_events(protobuf.spans(body, max_records=100_000), now=NOW)


def _client_spans(reports: list[Report]) -> ParsedBatch:
    return _spans(reports, kind=3, resource={"service.name": "app"})


def _server_spans(reports: list[Report]) -> ParsedBatch:
    return _spans(reports, kind=2, resource={"service.name": "acme-platform"})


def _logs(reports: list[Report]) -> ParsedBatch:
    records = [
        log(
            call.attributes | _session((call, knows), "session.id"),
            at=call.at,
            event_name="gen_ai.client.inference.operation.details",
        )
        for call, knows in reports
    ]
    body = logs(records, resource={"service.name": "app"}).SerializeToString()
    return otlp.to_events(protobuf.logs(body, max_records=100_000), now=NOW)


def _cloudevents(reports: list[Report]) -> ParsedBatch:
    records = [
        json.dumps(
            {
                "specversion": "1.0",
                "id": f"ce-{call.number}",
                "source": "billing",
                "type": "llm.usage",
                "time": call.at.isoformat(),
                "data": {
                    "model": "small",
                    "provider": "acme",
                    "request_id": call.call_id,
                    "usage": call.usage,
                    **_session((call, knows), "session_id"),
                },
            }
        ).encode()
        for call, knows in reports
    ]
    return cloudevents.parse(records, now=NOW)


def _lago(reports: list[Report]) -> ParsedBatch:
    events = [
        {
            "transaction_id": f"lago-{call.number}",
            "code": "llm",
            "timestamp": call.at.timestamp(),
            "properties": {
                "model": "small",
                "provider": "acme",
                "request_id": call.call_id,
                "usage": call.usage,
                **_session((call, knows), "session_id"),
            },
        }
        for call, knows in reports
    ]
    return lago.parse(events, now=NOW)


SOURCES: dict[str, Callable[[list[Report]], ParsedBatch]] = {
    "json": _json,
    "litellm": _litellm,
    "client spans": _client_spans,
    "server spans": _server_spans,
    "logs": _logs,
    "cloudevents": _cloudevents,
    "lago": _lago,
}


def _call(number: int, source: random.Random) -> Call:
    return Call(
        number,
        NOW - timedelta(seconds=source.randint(60, 20 * 86_400)),
        source.randint(1, 5_000),
        source.choice((0, source.randint(1, 5_000))),
        source.randint(1, 900),
        f"s{number // 20}",
    )


def test_every_call_is_one_event_whichever_sources_report_it(organization: Organization) -> None:
    set_price("small", provider="acme", organization=organization, **{name: str(usd) for name, usd in PRICES.items()})
    source = random.Random(17)
    expected: dict[str, Decimal] = defaultdict(Decimal)
    outcomes: Counter[str] = Counter()
    late: list[tuple[str, Report]] = []
    for start in range(0, CALLS, _WINDOW):
        calls = [_call(number, source) for number in range(start, min(start + _WINDOW, CALLS))]
        reports = late
        late = []
        for call in calls:
            sent = [(name, (call, source.random() < 0.5)) for name in source.sample([*SOURCES], source.randint(2, 6))]
            expected[call.session if any(knows for _, (_, knows) in sent) else ""] += call.cost_usd
            for report in sent:
                (late if source.random() < 0.1 else reports).append(report)
                if source.random() < 0.2:
                    (late if source.random() < 0.5 else reports).append(report)
        _send(organization, reports, source, outcomes)
        # As the workers do. Otherwise each completion reads the sessions of all events so far.
        fold(now=NOW)
    _send(organization, late, source, outcomes)

    assert outcomes["accepted"] == CALLS
    assert (outcomes["conflicts"], outcomes["rejected"], outcomes["flagged"]) == (0, 0, 0)
    fold(now=NOW)
    adjustments = UsageEvent.objects.exclude(adjusts=None).count()
    logger.info("%s calls, USD %s, %s, %s adjustments", CALLS, sum(expected.values()), dict(outcomes), adjustments)
    assert UsageEvent.objects.filter(adjusts=None).count() == CALLS
    by_session: dict[str, Decimal] = defaultdict(Decimal)
    for session_id, token_usd, compute_usd in UsageEvent.objects.values_list(
        "session_id", "token_cost_usd", "compute_cost_usd"
    ).iterator():
        by_session[session_id] += known_cost(token_usd, compute_usd)
    assert {name: cost for name, cost in by_session.items() if cost} == dict(expected)
    stored = Session.live().objects.of(organization).values_list("session_id", "token_cost_usd")
    assert {name: cost for name, cost in stored if cost} == {name: cost for name, cost in expected.items() if name}
    assert all(not checked.differences for checked in verify(organization_id=organization.pk, now=NOW))


def _send(
    organization: Organization, reports: list[tuple[str, Report]], source: random.Random, outcomes: Counter[str]
) -> None:
    """Send the reports in random order, in batches of one source each."""
    source.shuffle(reports)
    while reports:
        size = source.randint(1, 600)
        batch, reports = reports[:size], reports[size:]
        for name in dict.fromkeys(name for name, _ in batch):
            parsed = SOURCES[name]([report for other, report in batch if other == name])
            assert not parsed.errors
            numbered = [msgspec.structs.replace(event, index=index) for index, event in enumerate(parsed.events)]
            result = ingest(
                organization=organization,
                credential=None,
                format="json",
                parsed=ParsedBatch(numbered, []),
                now=NOW,
            )
            outcomes.update(
                {
                    field: getattr(result, field)
                    for field in ("accepted", "duplicates", "conflicts", "rejected", "flagged")
                }
            )
