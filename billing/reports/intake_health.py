"""Health checks of intake and of models without a price, for the whole installation. Read-only.

Each query reads a bounded number of rows, regardless of the size of the ledger; a count that reached the bound is shown
as "at least".
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import starmap

from billing.reports.metric_senders import MetricTokens, list_metric_tokens
from billing.types import UnpricedReason
from costtrack.clock import utc_now
from costtrack.database.queries import fetch_rows
from costtrack.date_text import utc_text
from costtrack.health.measures import declare
from costtrack.health.registry import Check, Link
from costtrack.ids import ids_at
from costtrack.organization_paths import organization_url

MAX_EXAMINED = 20_000
MAX_MODELS = 5

# The formats of senders, with their titles.
_FORMATS = {
    "json": "JSON",
    "litellm": "LiteLLM",
    "otlp": "OpenTelemetry",
    "cloudevents": "CloudEvents and OpenMeter",
    "lago": "Lago",
    "langfuse": "Langfuse",
}
_MAX_REFUSED_PERCENT = 50
# Metrics and logs are exported at different times, so the last minutes may differ.
_MIN_COVERED_PERCENT = 90

_UNPRICED_EVENTS = declare(
    "costtrack_unpriced_events", f"Events without a known cost; up to {MAX_EXAMINED} are counted."
)
_LAST_EVENT = declare("costtrack_last_event_timestamp_seconds", "When the last batch of events was received.")

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

# Batch ids are ordered by time, so a time span is an id range (`costtrack.ids`).
_LAST_RECEIVED = """
SELECT max(newest.received_at) FROM organizations_organization AS organization
CROSS JOIN LATERAL (
    SELECT batch.received_at FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = organization.id ORDER BY batch.id DESC LIMIT 1
) AS newest
"""
_RECEIVED = """
SELECT coalesce(received.accepted, 0), coalesce(received.rejected, 0), received.batches
FROM unnest(%(firsts)s::uuid[]) WITH ORDINALITY AS since (first, number)
CROSS JOIN LATERAL (
    SELECT sum(accepted) AS accepted, sum(rejected) AS rejected, count(*) AS batches FROM (
        SELECT recent.accepted, recent.rejected FROM organizations_organization AS organization
        CROSS JOIN LATERAL (
            SELECT batch.accepted, batch.rejected FROM billing_ingestbatch AS batch
            WHERE batch.organization_id = organization.id AND batch.id >= since.first LIMIT %(max_rows)s
        ) AS recent LIMIT %(max_rows)s
    ) AS bounded
) AS received
ORDER BY since.number
"""
_BY_FORMAT = """
SELECT format, max(received_at), sum(accepted), sum(duplicates), sum(rejected + conflicts), count(*) FROM (
    SELECT recent.* FROM organizations_organization AS organization
    CROSS JOIN LATERAL (
        SELECT batch.format, batch.received_at, batch.accepted, batch.duplicates, batch.rejected, batch.conflicts
        FROM billing_ingestbatch AS batch
        WHERE batch.organization_id = organization.id AND batch.id >= %(first)s LIMIT %(max_rows)s
    ) AS recent LIMIT %(max_rows)s
) AS received
GROUP BY format
"""
# Metrics are the largest of the families that repeat one another; calls come as logs or as spans.
_COVERAGE = """
SELECT source, sum(reported), sum(arrived) FROM (
    SELECT source, hour,
        max(tokens) FILTER (WHERE signal NOT IN ('logs', 'traces')) AS reported,
        coalesce(max(tokens) FILTER (WHERE signal IN ('logs', 'traces')), 0) AS arrived
    FROM (
        SELECT coverage.* FROM billing_coverage AS coverage WHERE coverage.hour >= %(since)s
            AND NOT EXISTS (
                SELECT FROM billing_metricsender AS sender
                WHERE sender.organization_id = coverage.organization_id AND sender.name = coverage.source
            )
        LIMIT %(max_rows)s
    ) AS recent
    GROUP BY organization_id, source, hour
) AS hours
WHERE reported > 0 GROUP BY source ORDER BY sum(reported) DESC, source LIMIT %(sources)s
"""
_UNPRICED = """
WITH unpriced AS MATERIALIZED (
    SELECT organization.slug, event.* FROM organizations_organization AS organization
    CROSS JOIN LATERAL (
        SELECT event.service, event.model, event.reason, event.occurred_at
        FROM billing_unpricedevent AS event
        WHERE event.organization_id = organization.id LIMIT %(max_rows)s
    ) AS event LIMIT %(max_rows)s
)
SELECT slug, service, model, reason, count(*) AS events, min(occurred_at), (SELECT count(*) FROM unpriced)
FROM unpriced GROUP BY slug, service, model, reason ORDER BY events DESC, slug, service, model, reason LIMIT %(models)s
"""
_HINTS = {
    UnpricedReason.NO_MODEL: "The sender must name the model.",
    UnpricedReason.NO_USAGE: "The sender must report token counts, or the model needs a price per request.",
}
_SET_A_PRICE = "Set a price that starts on or before the first event. The events are then priced automatically."


@dataclass(frozen=True, slots=True)
class ReceivedCounts:
    """Accepted events and rejected records since an instant. `is_all` is False if the bound was reached."""

    events: int
    refused: int
    is_all: bool


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """What one format has sent since an instant. `refused` are records that could not be stored."""

    format: str
    last_received_at: datetime
    accepted: int
    duplicates: int
    refused: int

    @property
    def refused_percent(self) -> float:
        records = self.accepted + self.duplicates + self.refused
        return 100 * self.refused / records if records else 0.0


@dataclass(frozen=True, slots=True)
class SourceCoverage:
    """The tokens that a sender has counted in metrics since an instant, and those in its logs or spans."""

    source: str
    reported: int
    arrived: int

    @property
    def percent(self) -> int:
        """Rounded down, so that 100 means that nothing is missing."""
        return 100 * self.arrived // self.reported


@dataclass(frozen=True, slots=True)
class UnpricedGroup:
    """Unpriced events of one organization, model and reason."""

    slug: str
    service: str
    model: str
    reason: UnpricedReason
    events: int
    first_at: datetime
    examined: int
    """Unpriced events of all groups, up to `MAX_EXAMINED`."""

    @property
    def is_all(self) -> bool:
        return self.examined < MAX_EXAMINED

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.service, self.model))) or "No model"


def last_received() -> datetime | None:
    """Return when the newest batch of any organization was received."""
    [(received_at,)] = fetch_rows(_LAST_RECEIVED)
    return received_at if isinstance(received_at, datetime) else None


def count_received(*since: datetime) -> list[ReceivedCounts]:
    """Return the counts since each of the instants."""
    rows = fetch_rows(_RECEIVED, {"firsts": [ids_at(instant)[0] for instant in since], "max_rows": MAX_EXAMINED})
    return [
        ReceivedCounts(int(events), int(refused), is_all=batches < MAX_EXAMINED) for events, refused, batches in rows
    ]


def list_sources(*, since: datetime) -> list[SourceHealth]:
    """Return the formats of which something was received, ordered by name. Adjustments are no format of a sender."""
    rows = fetch_rows(_BY_FORMAT, {"first": ids_at(since)[0], "max_rows": MAX_EXAMINED})
    sources = [SourceHealth(row[0], row[1], *map(int, row[2:5])) for row in rows if row[0] in _FORMATS]
    return sorted(sources, key=lambda source: _FORMATS[source.format])


def list_coverages(*, since: datetime) -> list[SourceCoverage]:
    """Return the coverage of the senders whose metrics have the most tokens, except those whose metrics are usage."""
    rows = fetch_rows(_COVERAGE, {"since": since, "max_rows": MAX_EXAMINED, "sources": MAX_MODELS})
    return [SourceCoverage(source, int(reported), int(arrived)) for source, reported, arrived in rows]


def list_unpriced_groups() -> list[UnpricedGroup]:
    """Return the models with the most unpriced events."""
    rows = fetch_rows(_UNPRICED, {"max_rows": MAX_EXAMINED, "models": MAX_MODELS})
    return [
        UnpricedGroup(slug, service, model, UnpricedReason(reason), events, first_at, examined)
        for slug, service, model, reason, events, first_at, examined in rows
    ]


def intake_checks() -> list[Check]:
    """Return the checks for the operator health page."""
    now = utc_now()
    sources = list_sources(since=now - _DAY)
    return [
        _intake_check(now),
        *(_source_check(source, now) for source in sources),
        *starmap(_coverage_check, enumerate(list_coverages(since=now - _DAY), 1)),
        *starmap(_metric_sender_check, enumerate(_metric_senders(now), 1)),
        *_unpriced_checks(list_unpriced_groups()),
    ]


def _source_check(source: SourceHealth, now: datetime) -> Check:
    details = {
        "Events in the last day": f"{source.accepted:,}",
        "Duplicates": f"{source.duplicates:,}",
        "Not stored": f"{source.refused:,} ({source.refused_percent:.1f}%)",
        "Last received": utc_text(source.last_received_at),
    }
    is_readable = source.refused_percent < _MAX_REFUSED_PERCENT
    advice = "" if is_readable else "View the quarantine of the organizations: it has the records and the reasons."
    state = _state(source.last_received_at, now) if is_readable else "unreadable"
    name = f"source_{source.format}"
    return Check(name, _FORMATS[source.format], "Sources", ok=is_readable, state=state, details=details, advice=advice)


def _coverage_check(number: int, coverage: SourceCoverage) -> Check:
    is_complete = coverage.percent >= _MIN_COVERED_PERCENT
    details = {
        "Tokens in metrics": f"{coverage.reported:,}",
        "Tokens in logs and spans": f"{coverage.arrived:,}",
        "Arrived": f"{coverage.percent}%",
    }
    advice = (
        "" if is_complete else "Check that the sender exports logs or traces too, and that its exporter drops none."
    )
    state = "complete" if is_complete else "incomplete"
    return Check(
        f"coverage_{number}", coverage.source, "Sources", ok=is_complete, state=state, details=details, advice=advice
    )


def _metric_senders(now: datetime) -> list[tuple[str, MetricTokens]]:
    return list_metric_tokens(now=now, max_senders=MAX_MODELS, max_rows=MAX_EXAMINED)


def _metric_sender_check(number: int, sender: tuple[str, MetricTokens]) -> Check:
    name, tokens = sender
    missing_percent = 100 * tokens.last_day_missing // tokens.last_day if tokens.last_day else 0
    is_complete = missing_percent <= 100 - _MIN_COVERED_PERCENT
    details = {
        "Tokens in the current hour": f"{tokens.current_hour:,}{'' if tokens.is_counted else ' (not counted)'}",
        "Tokens in the last day": f"{tokens.last_day:,}",
        "Missing": f"{tokens.last_day_missing:,} ({missing_percent}%)",
    }
    advice = (
        ""
        if is_complete
        else "Its logs or spans come first, but have fewer tokens. Export all of them, or give the machines that send "
        "only metrics another service.name."
    )
    state = "counted as usage" if is_complete else "incomplete"
    return Check(
        f"metric_sender_{number}", name, "Sources", ok=is_complete, state=state, details=details, advice=advice
    )


def _intake_check(now: datetime) -> Check:
    last = last_received()
    minute, hour, day = count_received(now - _MINUTE, now - _HOUR, now - _DAY)
    details = {
        "Last minute": _number(minute.events, is_all=minute.is_all),
        "Last hour": _number(hour.events, is_all=hour.is_all),
        "Last day": _number(day.events, is_all=day.is_all),
        "Last received": utc_text(last) if last else "never",
    }
    if day.refused:
        details["Rejected in the last day"] = _number(day.refused, is_all=day.is_all)
    measures = (_LAST_EVENT.measure(last.timestamp()),) if last else ()
    return Check("intake", "Events", "Intake", ok=True, state=_state(last, now), details=details, measures=measures)


def _state(last: datetime | None, now: datetime) -> str:
    if last is None:
        return "empty"
    return "receiving" if now - last < _HOUR else "quiet"


def _number(number: int, *, is_all: bool) -> str:
    return f"{number:,}" if is_all else f"at least {number:,}"


def _unpriced_checks(groups: list[UnpricedGroup]) -> list[Check]:
    section = "Models without a price"
    if not groups:
        measures = (_UNPRICED_EVENTS.measure(0),)
        return [Check("unpriced", "Events", section, ok=True, state="all priced", measures=measures)]
    return [
        Check(
            f"unpriced_{index}",
            group.title,
            section,
            ok=True,
            state="waiting",
            details={
                "Organization": group.slug,
                "Events": _number(group.events, is_all=group.is_all),
                "First": utc_text(group.first_at),
                "Why": group.reason.label,
            },
            advice=_HINTS.get(group.reason, _SET_A_PRICE),
            links=(Link("View events", organization_url(group.slug, "billing_unpricedevent_changelist")),),
            measures=(_UNPRICED_EVENTS.measure(group.examined),) if index == 1 else (),
        )
        for index, group in enumerate(groups, 1)
    ]
