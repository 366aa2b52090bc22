"""Texts shared by the pages of sessions and executions (document 003)."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Figure
from billing.admin.components.percent_bar import gauge, share_of
from billing.admin.components.tables import Column, Table, TableFile
from billing.admin.components.urls import admin_url
from billing.reports.sessions.executions import ExecutionCosts
from billing.reports.sessions.lists import SessionCosts
from billing.reports.sessions.session_rows import Totals
from costtrack.file_columns import ComputedColumn, Kind
from costtrack.money import ZERO, usd

_SECOND_MS = 1000
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
# A session without events for longer than this is not shown as running.
_SILENCE = timedelta(minutes=15)
_FINALIZED = "Totals reported by session summaries"


def figures_of(totals: Totals, *, sessions: str = "") -> list[Figure]:
    """Return the headline figures of a session, or of an execution with a number of sessions."""
    read, written = formatting.count(totals.cache_read_tokens), formatting.count(totals.cache_creation_tokens)
    return [
        Figure("Cost", usd(totals.cost_usd), (cost_parts(totals), unpriced_link(totals))),
        Figure(
            "Tokens",
            formatting.count(totals.tokens),
            (
                f"{formatting.count(totals.input_tokens)} in, {formatting.count(totals.output_tokens)} out",
                f"Caches: {read} read, {written} written",
            ),
        ),
        Figure("Model calls", formatting.count(totals.turns), (f"Tool calls: {formatting.count(totals.tool_calls)}",)),
        *([Figure("Sessions", sessions)] if sessions else []),
        Figure("Duration", length(totals.duration_ms), ("all calls combined",)),
    ]


def cost_parts(totals: Totals) -> str:
    return f"{usd(totals.token_cost_usd)} models, {usd(totals.compute_cost_usd)} tools and compute"


def unpriced_link(totals: Totals) -> SafeString | str:
    """Return a link to the events without a price, or an empty text."""
    number = totals.unpriced_events
    text = f"{formatting.count(number)} event{'' if number == 1 else 's'} without a price yet"
    return formatting.link(admin_url("billing_unpricedevent_changelist"), text) if number else ""


NamedAmount = tuple[str, Decimal]


def amount_columns(name: str) -> tuple[ComputedColumn, ...]:
    """Return the columns of the file of a table by model, tool and so on."""
    return (
        ComputedColumn(name, Kind.TEXT, lambda row: row[0]),
        ComputedColumn("cost_usd", Kind.AMOUNT, lambda row: row[1]),
    )


def share_table(
    title: str,
    column: str,
    amounts: Mapping[str, Decimal],
    *,
    total: Decimal | None = None,
    url: Callable[[str], str] = lambda _: "",
    file: TableFile[NamedAmount] | None = None,
) -> Table[NamedAmount]:
    """Return the shares of `total` (default: the sum of the positive amounts) in descending order. An amount can be
    negative after a session summary; it has no bar."""
    whole = sum((amount for amount in amounts.values() if amount > 0), ZERO) if total is None else total

    def name(row: NamedAmount) -> SafeString:
        text = formatting.link_or_text(url(row[0]), row[0])
        return format_html('<span class="ct-any-id">{}</span>{}', text, gauge(share_of(row[1], whole)))

    columns = (
        Column[NamedAmount](column, name),
        Column[NamedAmount]("Cost", lambda row: usd(row[1]), is_number=True),
        Column[NamedAmount](
            "Share", lambda row: share_of(row[1], whole).text if row[1] >= 0 else formatting.NOTHING, is_number=True
        ),
    )
    ranked = sorted(amounts.items(), key=lambda item: (-item[1], item[0]))
    return Table(title, columns, ranked, css="ct-shares", empty=f"No {column.lower()}s.", file=file)


def state_of(costs: SessionCosts | ExecutionCosts, now: datetime) -> SafeString:
    """Return the badge of the state."""
    if isinstance(costs, ExecutionCosts) and costs.is_complete:
        return formatting.badge("Complete", "success", _FINALIZED)
    if isinstance(costs, SessionCosts) and costs.is_finalized:
        return formatting.badge("Finalized", "success", _FINALIZED)
    if costs.last_seen_at is not None and now - costs.last_seen_at < _SILENCE:
        return formatting.badge("Running", "info", "No summary yet; last event within 15 minutes")
    return formatting.badge("Idle", "", "No event for 15 minutes, and no summary")


def length(milliseconds: Decimal) -> str:
    """`850 ms`, `41.3 s`, `5 min 12 s`, `2 h 4 min`, `3 d 4 h`; `-` for none."""
    if not milliseconds:
        return formatting.NOTHING
    if abs(milliseconds) < _SECOND_MS:
        return f"{milliseconds.quantize(Decimal(1), ROUND_HALF_UP):f} ms"
    seconds = milliseconds / _SECOND_MS
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    total = int(seconds)
    if total < _HOUR:
        return f"{total // _MINUTE} min {total % _MINUTE} s"
    if total < _DAY:
        return f"{total // _HOUR} h {total % _HOUR // _MINUTE} min"
    return f"{total // _DAY:,} d {total % _DAY // _HOUR} h"


def between(start: datetime, end: datetime) -> str:
    """Format the duration between two timestamps."""
    return length(Decimal((end - start) // timedelta(microseconds=1)) / 1000)


def joined(names: Iterable[str]) -> str:
    """Join the names that are not empty."""
    return " · ".join(name for name in names if name)
