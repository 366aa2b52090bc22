"""Texts shared by the pages of sessions and executions (document 003)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.percent_bar import share_of
from billing.reports.sessions.rows import Totals
from costtrack.calendar import Calendar
from costtrack.clock import iso
from costtrack.money import ZERO, usd

_SECOND_MS = 1000
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
# A session without events for longer than this is not shown as running.
_SILENCE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Figures:
    """Totals as texts. `unpriced` is a sentence about events without a price and `unpriced_events` their number; both
    are empty if there are none."""

    cost: str
    token_cost: str
    compute_cost: str
    tokens: str
    input_tokens: str
    output_tokens: str
    cache_read_tokens: str
    cache_creation_tokens: str
    turns: str
    tool_calls: str
    took: str
    unpriced: str
    unpriced_events: str


@dataclass(frozen=True, slots=True)
class NamedShare:
    """A name's share of an amount. `width` is the width of its bar in percent, for an SVG attribute. `url` may be
    empty."""

    name: str
    amount: str
    percent: str
    width: str
    url: str = ""


def figures_of(totals: Totals) -> Figures:
    return Figures(
        cost=usd(totals.cost_usd),
        token_cost=usd(totals.token_cost_usd),
        compute_cost=usd(totals.compute_cost_usd),
        tokens=formatting.count(totals.tokens),
        input_tokens=formatting.count(totals.input_tokens),
        output_tokens=formatting.count(totals.output_tokens),
        cache_read_tokens=formatting.count(totals.cache_read_tokens),
        cache_creation_tokens=formatting.count(totals.cache_creation_tokens),
        turns=formatting.count(totals.turns),
        tool_calls=formatting.count(totals.tool_calls),
        took=length(totals.duration_ms),
        unpriced=_unpriced(totals.unpriced_events),
        unpriced_events=formatting.count(totals.unpriced_events) if totals.unpriced_events else "",
    )


def shares(
    amounts: Mapping[str, Decimal], *, total: Decimal | None = None, urls: Mapping[str, str] | None = None
) -> list[NamedShare]:
    """Return the shares of `total` (default: the sum of the positive amounts) in descending order. An amount can be
    negative after a session summary; it has no bar."""
    if total is None:
        total = sum((amount for amount in amounts.values() if amount > 0), ZERO)
    ranked = sorted(amounts.items(), key=lambda item: (-item[1], item[0]))
    return [_share(name, amount, total, (urls or {}).get(name, "")) for name, amount in ranked]


def state_of(*, is_finalized: bool, last_seen_at: datetime | None, now: datetime, finalized: str) -> SafeString:
    """Return the badge of the state. `finalized` is its text for a finalized row."""
    if is_finalized:
        return formatting.badge(finalized, "success", "Totals reported by session summaries")
    if last_seen_at is not None and now - last_seen_at < _SILENCE:
        return formatting.badge("Running", "info", "No summary yet; last event within 15 minutes")
    return formatting.badge("Open", "", "No summary received")


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


def when(instant: datetime, *, calendar: Calendar, now: datetime) -> SafeString:
    """Render the relative time with the local time below it. The time zone is in the tooltip."""
    exact = datetimes.exact(instant, calendar)
    return format_html(
        '<time class="ct-two-lines" datetime="{}" title="{}"><span>{}</span><small>{}</small></time>',
        iso(instant),
        exact,
        datetimes.relative(instant, now),
        exact.removesuffix(f" {calendar.zone.key}"),
    )


def between(start: datetime, end: datetime) -> str:
    """Format the duration between two timestamps."""
    return length(Decimal((end - start) // timedelta(microseconds=1)) / 1000)


def session_url(session_id: str) -> str:
    return reverse("admin:session", args=[session_id])


def execution_url(execution_id: str) -> str:
    """Return the page's URL; empty without an execution."""
    return reverse("admin:execution", args=[execution_id]) if execution_id else ""


def joined(names: Iterable[str]) -> str:
    """Join the names that are not empty."""
    return " · ".join(name for name in names if name)


def _share(name: str, amount: Decimal, total: Decimal, url: str) -> NamedShare:
    share = share_of(amount, total)
    return NamedShare(name, usd(amount), share.text if amount >= 0 else formatting.NOTHING, share.width, url)


def _unpriced(events: int) -> str:
    if not events:
        return ""
    return f"{formatting.count(events)} event{'' if events == 1 else 's'} without a price yet"
