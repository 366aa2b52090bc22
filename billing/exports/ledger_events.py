"""An organization's events in the format of `POST /usage/events`, to move them to another installation.

Each line has an event with its id, source, time and net cost, so priced and corrected events keep their cost. Voided
events are excluded; an event without a known cost has none. Session summaries come last, with totals that restore the
sums of their sessions. Credits, which are no events, have a file of their own.

The tables are read by SQL and not by the models, because databases from before 0.1.0 are exported as well
(`costtrack.database.first_schema`).
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
from django.db import connection, transaction

from billing.ledger.adjustments import IS_VOID
from billing.ledger.types import SUMMARY_AMOUNTS, SUMMARY_COUNTS, SUMMARY_TOTALS
from billing.pricing.kinds import TOKEN_COUNTS
from billing.types import AGGREGATE_FLAG, UNKNOWN_REQUESTS, EventKind
from costtrack.clock import iso
from costtrack.money import ZERO, plain

_TEXTS = (
    *("source", "request_id", "kind", "status", "endpoint", "capability", "service", "model", "cost_group", "tool"),
    *("run_id", "workflow_id", "execution_id", "phase_id", "workspace_id", "session_id", "group_id", "group_name"),
    *("agent_id", "agent_name", "end_user", "team"),
)
_COUNTS = (*TOKEN_COUNTS, "tool_use_tokens", "tool_result_tokens")
_COLUMNS = (*_TEXTS, "event_id", "user_ref", "occurred_at", "status_code", "tags", "metadata")

_SESSIONS_WITH_SUMMARY = """
SELECT DISTINCT session_id
FROM billing_usageevent
WHERE organization_id = %s AND kind = 'session_summary'
"""
_EVENTS = f"""
WITH adjustment AS MATERIALIZED (
    SELECT
        adjusts,
        sum(unpriced) AS unpriced,
        sum(token_cost_usd) AS token_cost_usd,
        sum(compute_cost_usd) AS compute_cost_usd,
        bool_or({IS_VOID}) AS is_voided
    FROM billing_usageevent
    WHERE organization_id = %(organization)s AND adjusts IS NOT NULL
    GROUP BY adjusts
)
SELECT
    event.id,
    {", ".join(f"event.{column}" for column in _COLUMNS if column not in ("model", "team"))},
    {", ".join(f"coalesce(event.{column}, 0) AS {column}" for column in SUMMARY_COUNTS)},
    -- As sent, so that the model is priced and known in the same way again. Old databases do not have the columns.
    coalesce(nullif(to_jsonb(event) ->> 'sent_model', ''), event.model) AS model,
    to_jsonb(event) ->> 'team' AS team,
    CASE
        WHEN to_jsonb(event) -> 'flags' @> %(unknown_aggregate)s::jsonb THEN 0
        WHEN to_jsonb(event) -> 'flags' @> %(aggregate)s::jsonb THEN event.requests
    END AS requests,
    coalesce(run.parent_run_id, '') AS parent_run_id,
    coalesce(event.duration_ms, 0) AS duration_ms,
    event.unpriced + coalesce(adjustment.unpriced, 0) AS unpriced,
    coalesce(event.token_cost_usd, 0) + coalesce(adjustment.token_cost_usd, 0) AS token_cost_usd,
    event.compute_cost_usd + coalesce(adjustment.compute_cost_usd, 0) AS compute_cost_usd
FROM billing_usageevent AS event
LEFT JOIN adjustment ON adjustment.adjusts = event.id
LEFT JOIN billing_run AS run
    ON run.organization_id = event.organization_id AND run.run_id = event.run_id AND event.run_id <> ''
WHERE event.organization_id = %(organization)s
    AND event.kind = ANY (%(kinds)s)
    AND NOT coalesce(adjustment.is_voided, false)
ORDER BY event.id
"""  # noqa: S608 - names of columns
# The flags of aggregates, whose number of requests is a field.
_FLAGS = {
    "aggregate": json.dumps([{"code": AGGREGATE_FLAG}]),
    "unknown_aggregate": json.dumps([{"code": AGGREGATE_FLAG, "detail": UNKNOWN_REQUESTS}]),
}
_SUMMARIES = [EventKind.SESSION_SUMMARY.value]
_CALLS = [EventKind.MODEL_CALL.value, EventKind.TOOL_CALL.value, EventKind.COMPUTE.value]

Row = dict[str, Any]
"""The columns of an event, with its net cost."""


def export_events(organization_id: int) -> Iterator[bytes]:
    """Yield a line of JSON for each event, from one snapshot."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(_SESSIONS_WITH_SUMMARY, [organization_id])
            sessions: dict[str, Row] = {session_id: dict.fromkeys(SUMMARY_TOTALS, 0) for (session_id,) in cursor}
        for row in _rows(organization_id, _CALLS):
            if row["session_id"] in sessions:
                _add(row, sessions[row["session_id"]])
            yield _line(row, _call_amounts(row))
        for row in _rows(organization_id, _SUMMARIES):
            _add(row, sessions[row["session_id"]])
            yield _line(row, _summary_totals(row, sessions[row["session_id"]]))


_CREDITS = """
SELECT amount_usd, reason, "start" AS start_date, "end" AS end_date, dimensions
FROM billing_credit
WHERE organization_id = %s AND voided_at IS NULL
ORDER BY id
"""


def export_credits(organization_id: int) -> Iterator[bytes]:
    """Yield a line of JSON for each credit that is not voided, in the format of `POST /usage/credits`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('billing_credit') IS NOT NULL")
        [(has_credits,)] = cursor.fetchall()
        if has_credits:
            cursor.execute(_CREDITS, [organization_id])
            for amount_usd, reason, start, end, dimensions in cursor.fetchall():
                fields = {"amount_usd": plain(amount_usd), "reason": reason}
                fields |= {"start_date": iso(start), "end_date": iso(end), **json.loads(dimensions)}
                yield msgspec.json.encode(fields) + b"\n"


def _rows(organization_id: int, kinds: list[str]) -> Iterator[Row]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(_EVENTS, {"organization": organization_id, "kinds": kinds, **_FLAGS})
        for values in cursor:
            yield dict(zip((column.name for column in cursor.description), values, strict=True))


def _add(row: Row, totals: Row) -> None:
    for name in SUMMARY_TOTALS:
        totals[name] += row[name]


def _line(row: Row, amounts: dict[str, Any]) -> bytes:
    fields: dict[str, Any] = {"id": row["event_id"] or str(row["id"]), "occurred_at": iso(row["occurred_at"])}
    fields |= {name: row[name] for name in _TEXTS if row[name]}
    fields |= {"parent_run_id": row["parent_run_id"]} if row["parent_run_id"] else {}
    fields |= {"user_id": row["user_ref"]} if row["user_ref"] else {}
    fields |= {"status_code": row["status_code"]} if row["status_code"] is not None else {}
    fields |= {"tags": row["tags"]} if row["tags"] else {}
    fields |= {"metadata": msgspec.Raw(row["metadata"].encode())} if row["metadata"] not in (None, "null") else {}
    return msgspec.json.encode(fields | amounts) + b"\n"


def _call_amounts(row: Row) -> dict[str, Any]:
    amounts: dict[str, Any] = {name: row[name] for name in _COUNTS if row[name]}
    if row["requests"] is not None:
        amounts["requests"] = row["requests"]
    if row["duration_ms"]:
        amounts["duration_ms"] = plain(row["duration_ms"])
    if row["kind"] != EventKind.MODEL_CALL.value:
        # Without tokens, all cost is compute cost.
        return amounts | {"compute_cost_usd": plain(row["token_cost_usd"] + row["compute_cost_usd"])}
    if row["unpriced"] <= 0:
        amounts["cost_usd"] = plain(row["token_cost_usd"])
    if row["compute_cost_usd"]:
        amounts["compute_cost_usd"] = plain(row["compute_cost_usd"])
    return amounts


def _summary_totals(difference: Row, totals: Row) -> dict[str, Any]:
    """Return the totals of a summary: those that produce the same difference if all other events of the session, and
    its earlier summaries, are in the ledger. A sum that is negative after corrections cannot be sent."""
    named: dict[str, Any] = {name: max(totals[name], 0) for name in SUMMARY_COUNTS if totals[name] or difference[name]}
    amounts: dict[str, Decimal] = {name: max(totals[name], ZERO) for name in SUMMARY_AMOUNTS if difference[name]}
    return named | {"cost_usd" if name == "token_cost_usd" else name: plain(amount) for name, amount in amounts.items()}
