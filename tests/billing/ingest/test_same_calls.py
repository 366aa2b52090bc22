"""A call that several sources report is one event, which later reports complete."""

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.ingest import same_calls
from billing.ingest.call_identity import call_key
from billing.ingest.services import IngestResult, ingest
from billing.ingest.types import ParsedBatch, ParsedEvent, UsageEventInput
from billing.ingest.validate import normalize
from billing.ledger.corrections import adjust, void
from billing.ledger.net_cost import load_adjusted_event
from billing.ledger.price_unpriced import price_unpriced
from billing.models import CallKey, IngestBatch, Session, UnpricedEvent, UsageEvent
from billing.reports.price_check.exactness import exactness_by_model, total_exactness
from billing.reports.price_check.selection import CallSelection
from billing.rollups.fold import fold
from billing.rollups.verify import verify
from billing.types import Exactness
from costtrack.calendar import Span
from organizations.models import Organization
from tests.usage import NOW, Send, set_price

CALL = "chatcmpl-Abc123Def456"
# 0.001 for the call of `_report` at 1 per million of everything.
PRICES = {"input": "1", "output": "2", "cache_read": "0.1", "cache_creation": "1.25"}


@pytest.fixture(autouse=True)
def _prices(organization: Organization) -> None:
    set_price("small", provider="acme", organization=organization, **PRICES)


def _report(source: str = "one", *, event_id: str = "", call: str = CALL, **fields: Any) -> ParsedEvent:
    event = UsageEventInput(
        **{
            "id": event_id or f"{source}:{call}",
            "source": source,
            "service": "acme",
            "model": "small",
            "input_tokens": 1000,
            "output_tokens": 100,
            "occurred_at": NOW - timedelta(minutes=5),
            "request_id": call,
            **fields,
        }
    )
    reading = normalize(event, NOW)
    return ParsedEvent(0, event, reading)


def _send(organization: Organization, *reports: ParsedEvent, now: datetime = NOW) -> IngestResult:
    numbered = [
        ParsedEvent(
            index,
            report.event,
            report.reading,
            report.is_gateway_cost,
            report.call_ids,
            report.may_repeat_calls,
            report.is_from_provider,
        )
        for index, report in enumerate(reports)
    ]
    return ingest(organization=organization, credential=None, format="json", parsed=ParsedBatch(numbered, []), now=now)


def _calls() -> list[UsageEvent]:
    return list(UsageEvent.objects.filter(kind="model_call").order_by("source"))


def _with(report: ParsedEvent, **changes: Any) -> ParsedEvent:
    names = ("index", "event", "reading", "is_gateway_cost", "call_ids", "may_repeat_calls", "is_from_provider")
    return ParsedEvent(**{**{name: getattr(report, name) for name in names}, **changes})


def _by_exactness(organization: Organization) -> dict[Exactness, int]:
    selection = CallSelection(Span(NOW - timedelta(days=1), NOW))
    totals = total_exactness(exactness_by_model(organization, selection))
    return {exactness: spend.events for exactness, spend in totals.items() if spend.events}


def test_the_same_call_of_another_source_is_a_duplicate(organization: Organization) -> None:
    assert _send(organization, _report("one")).accepted == 1
    result = _send(organization, _report("two"))
    assert (result.accepted, result.duplicates, result.conflicts, result.flagged) == (0, 1, 0, 0)
    assert [event.source for event in _calls()] == ["one"]
    assert _send(organization, _report("two")).duplicates == 1


def test_the_same_call_twice_in_one_batch_is_one_event(organization: Organization) -> None:
    result = _send(organization, _report("one"), _report("two"), _report("three", call="chatcmpl-Another0001"))
    assert (result.accepted, result.duplicates) == (2, 1)


def test_within_a_source_the_event_ids_count(organization: Organization) -> None:
    result = _send(organization, _report("one", event_id="a"), _report("one", event_id="b"))
    assert result.accepted == 2
    assert _send(organization, _report("one", event_id="b", output_tokens=1)).conflicts == 1


def test_a_source_that_may_repeat_calls_is_compared_with_itself(organization: Organization) -> None:
    reports = [_with(_report("otlp", event_id=name), may_repeat_calls=True) for name in ("a", "b")]
    result = _send(organization, *reports)
    assert (result.accepted, result.duplicates) == (1, 1)


def test_other_tokens_under_the_same_id_are_a_possible_duplicate(organization: Organization) -> None:
    _send(organization, _report("one"))
    result = _send(organization, _report("two", output_tokens=101))
    assert (result.accepted, result.duplicates, result.flagged) == (1, 0, 1)
    assert [warning.code for warning in result.warnings] == ["possible_duplicate"]
    first, second = _calls()
    assert second.flags == [{"code": "possible_duplicate", "detail": str(first.pk)}]
    assert (first.token_cost_usd, second.token_cost_usd) == (Decimal("0.0012"), Decimal("0.001202"))
    again = _send(organization, _report("three", output_tokens=101), _report("four"))
    assert (again.accepted, again.duplicates) == (0, 2)


def test_another_model_under_the_same_id_is_a_possible_duplicate(organization: Organization) -> None:
    _send(organization, _report("one"))
    result = _send(organization, _report("two", model="large"))
    assert (result.accepted, result.flagged) == (1, 1)


def test_spellings_of_the_model_and_the_provider_are_the_same(organization: Organization) -> None:
    _send(organization, _report("one", model="claude-sonnet-4-5-20250929", service="anthropic"))
    others = (
        ("two", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock"),
        ("three", "anthropic/claude-sonnet-4.5", "openrouter"),
        ("four", "claude-sonnet-4-5", ""),
        ("five", "", None),
    )
    for source, model, service in others:
        assert _send(organization, _report(source, model=model, service=service)).duplicates == 1, source


def test_caches_and_reasoning_left_out_are_the_same_tokens(organization: Organization) -> None:
    whole = _report("one", input_tokens=200, cache_read_tokens=800, output_tokens=100, reasoning_tokens=30)
    _send(organization, whole)
    variants: tuple[dict[str, Any], ...] = (
        {"input_tokens": 1000, "output_tokens": 100},
        {"input_tokens": 200, "output_tokens": 100},
        {"input_tokens": 1000, "output_tokens": 70},
        {"input_tokens": None, "output_tokens": None},
    )
    for number, counts in enumerate(variants):
        assert _send(organization, _report(f"source-{number}", **counts)).duplicates == 1, counts


def test_numbered_ids_are_compared_at_their_provider_only(organization: Organization) -> None:
    _send(organization, _report("one", call="chatcmpl-42", service="ollama"))
    assert _send(organization, _report("two", call="chatcmpl-42", service="vllm")).accepted == 1
    assert _send(organization, _report("three", call="chatcmpl-42", service="ollama")).duplicates == 1
    assert call_key("ollama", "7") != call_key("vllm", "7")
    assert call_key("", CALL) == call_key("openai", CALL)


def test_an_attempt_that_failed_is_not_the_call(organization: Organization) -> None:
    _send(organization, _report("one", status="failure", input_tokens=None, output_tokens=None))
    assert _send(organization, _report("two")).accepted == 1


def test_events_without_ids_of_calls_are_never_the_same(organization: Organization) -> None:
    _send(organization, _report("one", event_id="x", request_id=None))
    assert _send(organization, _report("two", event_id="x", request_id=None)).accepted == 1
    assert not CallKey.objects.exists()


def test_ids_are_linked_by_a_report_that_has_both(organization: Organization) -> None:
    request = "req_011CSHoEeqs5C35K"
    _send(organization, _report("one", call=request))
    both = _with(_report("two"), call_ids=(request,))
    assert _send(organization, both).duplicates == 1
    assert _send(organization, _report("three")).duplicates == 1
    third = "0f3c0b6e-7c1d-4f5e-9a55-0e9a0a6a3a11"
    in_one_batch = _send(organization, _with(_report("four"), call_ids=(third,)), _report("five", call=third))
    assert in_one_batch.duplicates == 2


def test_a_later_report_adds_the_session_user_and_tags(organization: Organization) -> None:
    _send(organization, _report("one"))
    _send(organization, _report("two", session_id="s1", user_id="ada", tags=["a"], run_id="r1"))
    fold(now=NOW)
    (event,) = _calls()
    adjusted_event = load_adjusted_event(event)
    assert adjusted_event.cost_usd == Decimal("0.0012")
    assert adjusted_event.count("requests") == 1
    row = adjusted_event.attributed
    assert (row.session_id, row.user_ref, row.tags, row.run_id) == ("s1", "ada", ["a"], "r1")
    session = Session.live().objects.of(organization).get(session_id="s1")
    assert session.token_cost_usd == Decimal("0.0012")
    assert _send(organization, _report("three", session_id="s2")).duplicates == 1
    assert UsageEvent.objects.count() == 3  # the session is known already


@pytest.mark.parametrize("seconds", [(1, 2, 3), (0, 0, 0), (3, 2, 1)], ids=["in order", "at one time", "clocks differ"])
def test_later_reports_complete_what_the_one_before_has_completed(
    organization: Organization, seconds: tuple[int, ...]
) -> None:
    """A request that began earlier, or on a server whose clock is behind, may complete an event later."""
    _send(organization, _report("one"))
    known: list[dict[str, Any]] = [{"run_id": "r1"}, {"session_id": "s1"}, {"user_id": "ada"}]
    for number, (second, fields) in enumerate(zip(seconds, known, strict=True)):
        later = _report(f"later-{number}", **fields)
        assert _send(organization, later, now=NOW + timedelta(seconds=second)).duplicates == 1
    requests: Counter[tuple[str, ...]] = Counter()
    for row in UsageEvent.objects.all():
        requests[row.run_id, row.session_id, row.user_ref] += row.requests
    assert {dimensions: count for dimensions, count in requests.items() if count} == {("r1", "s1", "ada"): 1}


def test_many_events_are_completed_in_several_transactions(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each event takes a lock until its transaction ends, and PostgreSQL's lock table is small."""
    monkeypatch.setattr(same_calls, "_CHUNK", 2)
    calls = [f"chatcmpl-Abc123Def45{number}" for number in range(5)]
    _send(organization, *(_report("one", call=call) for call in calls))
    _send(organization, *(_report("two", call=call, session_id="s1") for call in calls))
    assert {load_adjusted_event(event).attributed.session_id for event in _calls()} == {"s1"}
    assert IngestBatch.objects.filter(format="adjustment").count() == 3


def test_a_later_report_adds_caches_and_the_tier(organization: Organization) -> None:
    _send(organization, _report("one"))
    _send(organization, _report("two", input_tokens=200, cache_read_tokens=800))
    adjusted_event = load_adjusted_event(_calls()[0])
    assert adjusted_event.cost_usd == Decimal("0.00048")
    assert (adjusted_event.count("input_tokens"), adjusted_event.count("cache_read_tokens")) == (200, 800)
    assert _send(organization, _report("three", input_tokens=200, cache_read_tokens=800)).duplicates == 1
    assert UsageEvent.objects.count() == 2


def test_a_later_report_prices_a_call_whose_usage_was_unknown(organization: Organization) -> None:
    _send(organization, _report("one", input_tokens=None, output_tokens=None))
    assert UnpricedEvent.objects.count() == 1
    _send(organization, _report("two", user_id="ada"))
    (event,) = _calls()
    adjusted_event = load_adjusted_event(event)
    assert (adjusted_event.cost_usd, adjusted_event.attributed.user_ref) == (Decimal("0.0012"), "ada")
    assert not UnpricedEvent.objects.exists()


def test_a_call_without_a_price_has_what_later_reports_add_when_a_price_comes(organization: Organization) -> None:
    _send(organization, _report("one", model="new"))
    _send(organization, _report("two", model="new", session_id="s1", user_id="ada", service_tier="standard"))
    _send(
        organization,
        _report("three", model="new", session_id="s2", tags=["a"], input_tokens=200, cache_read_tokens=800),
    )
    assert _send(organization, _report("four", model="new", tags=["b"])).duplicates == 1
    assert UnpricedEvent.objects.count() == 1
    assert not IngestBatch.objects.filter(format="adjustment", unpriced__gt=0).exists()
    assert _by_exactness(organization) == {Exactness.UNKNOWN: 1}
    set_price("new", provider="acme", organization=organization, **PRICES)
    assert price_unpriced(organization=organization, now=NOW) == 1
    assert price_unpriced(organization=organization, now=NOW) == 0
    assert _by_exactness(organization) == {Exactness.COMPUTED: 1}
    fold(now=NOW)
    (event,) = _calls()
    adjusted_event = load_adjusted_event(event)
    row = adjusted_event.attributed
    assert (row.session_id, row.user_ref, row.tags, row.service_tier) == ("s1", "ada", ["a"], "standard")
    assert (adjusted_event.cost_usd, adjusted_event.count("requests")) == (Decimal("0.00048"), 1)
    session = Session.live().objects.of(organization).get(session_id="s1")
    assert (session.token_cost_usd, session.unpriced) == (Decimal("0.00048"), 0)
    assert all(not checked.differences for checked in verify(organization_id=organization.pk, now=NOW))


def test_a_summary_includes_the_calls_that_another_source_has_put_into_its_session(organization: Organization) -> None:
    _send(organization, _report("one", model="new"))
    _send(organization, _report("two", model="new", session_id="s1"))
    summary = UsageEventInput(id="total", kind="session_summary", session_id="s1", occurred_at=NOW, cost_usd=Decimal(3))
    assert _send(organization, ParsedEvent(0, summary)).accepted == 1
    assert not UnpricedEvent.objects.exists()
    set_price("new", provider="acme", organization=organization, **PRICES)
    assert price_unpriced(organization=organization, now=NOW) == 0
    fold(now=NOW)
    session = Session.live().objects.of(organization).get(session_id="s1")
    assert (session.token_cost_usd, session.unpriced) == (3, 0)
    assert all(not checked.differences for checked in verify(organization_id=organization.pk, now=NOW))


def test_a_later_report_names_the_model_of_a_call_without_one(organization: Organization) -> None:
    _send(organization, _report("one", model="", service=""))
    _send(organization, _report("two", model="new"))
    assert UnpricedEvent.objects.get().model == "new"
    assert _by_exactness(organization) == {Exactness.UNKNOWN: 1}
    set_price("new", provider="acme", organization=organization, **PRICES)
    assert price_unpriced(organization=organization, now=NOW) == 1
    assert load_adjusted_event(_calls()[0]).cost_usd == Decimal("0.0012")
    assert _by_exactness(organization) == {Exactness.COMPUTED: 1}


def test_a_providers_report_comes_before_a_clients(organization: Organization) -> None:
    _send(organization, _report("one", input_tokens=1000))
    provider = _with(_report("two", input_tokens=200, cache_read_tokens=800), is_from_provider=True)
    _send(organization, provider)
    assert load_adjusted_event(_calls()[0]).cost_usd == Decimal("0.00048")


def test_a_reported_cost_stays_reported(organization: Organization) -> None:
    _send(organization, _report("one", cost_usd=Decimal("0.5")))
    _send(organization, _report("two", input_tokens=200, cache_read_tokens=800))
    assert load_adjusted_event(_calls()[0]).cost_usd == Decimal("0.5")


def test_a_later_stated_cost_counts(organization: Organization) -> None:
    _send(organization, _report("one"))
    _send(organization, _report("two", cost_usd=Decimal("0.5")))
    adjusted_event = load_adjusted_event(_calls()[0])
    assert (adjusted_event.cost_usd, adjusted_event.adjustments[-1].cost_basis) == (Decimal("0.5"), "sender")


def test_a_corrected_event_is_not_completed(organization: Organization) -> None:
    _send(organization, _report("one"))
    (event,) = _calls()
    adjust(organization=organization, event_id=event.pk, cost_usd=Decimal(2), reason="Agreed", actor="ada", now=NOW)
    assert _send(organization, _report("two", session_id="s1")).duplicates == 1
    assert load_adjusted_event(event).cost_usd == Decimal(2)


def test_a_completed_event_can_be_voided(organization: Organization) -> None:
    _send(organization, _report("one"))
    _send(organization, _report("two", session_id="s1"))
    (event,) = _calls()
    void(organization=organization, event_id=event.pk, reason="Test", actor="ada", now=NOW)
    fold(now=NOW)
    session = Session.live().objects.of(organization).get(session_id="s1")
    assert session.token_cost_usd == 0


def test_a_conflict_of_json_stays_a_conflict(send: Send) -> None:
    call = {"id": "a", "request_id": CALL, "service": "acme", "model": "small", "input_tokens": 1, "output_tokens": 1}
    assert send(call).accepted == 1
    assert send({**call, "output_tokens": 2}).conflicts == 1
    assert send({**call, "id": "b"}).accepted == 1
