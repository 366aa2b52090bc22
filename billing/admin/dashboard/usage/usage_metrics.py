"""The headline figures of the usage page, each compared with the previous period."""

from collections.abc import Callable
from decimal import Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Figure
from billing.reports.usage.figures import Figures
from billing.reports.usage.totals import Comparison, Headline
from costtrack.money import usd

_HUNDRED = Decimal(100)
_PREVIOUS = "in the previous period"


def figures_of_spend(compared: Headline) -> tuple[Figure, Figure, Figure]:
    """Return the spend of today, of the rolling 7 days (as limits count them; the range "Last 7 days"
    has calendar days), and of the month."""
    return (
        _spend("Spend today", compared.today, "by this time yesterday"),
        _spend("Rolling 7 days", compared.week, "in the previous 7 days"),
        _spend("Month to date", compared.month, "in the same number of days before"),
    )


def figures_of_window(compared: Comparison) -> tuple[Figure, ...]:
    now = compared.figures
    failed = f"{formatting.count(now.errors)} failed"
    tokens = f"{formatting.count(now.prompt_tokens)} prompt, {formatting.count(now.completion_tokens)} completion"
    return (
        _spend("Cost", compared, _PREVIOUS),
        Figure(
            "Requests", formatting.count(now.requests), (failed, _change_of_count(compared, lambda of: of.requests))
        ),
        Figure(
            "Tokens",
            formatting.count(now.total_tokens),
            (tokens, _change_of_count(compared, lambda of: of.total_tokens)),
        ),
        Figure("Error rate", percent(now.error_rate), ("Share of failed requests", _change_of_rate(compared))),
    )


def percent(rate: float) -> str:
    """Format a rate from 0 to 1 as `1.25%`."""
    return f"{rate * 100:.2f}".rstrip("0").rstrip(".") + "%"


def _spend(name: str, compared: Comparison, period: str) -> Figure:
    now, before = compared.figures.cost_usd, compared.before
    change = _NOT_SHOWN if before is None else _change(now, before.cost_usd, usd(before.cost_usd), period)
    return Figure(name, usd(now), (change,))


def _change_of_count(compared: Comparison, number_of: Callable[[Figures], int]) -> SafeString:
    if compared.before is None:
        return _NOT_SHOWN
    now, before = number_of(compared.figures), number_of(compared.before)
    return _change(Decimal(now), Decimal(before), formatting.count(before), _PREVIOUS)


def _change_of_rate(compared: Comparison) -> SafeString:
    if compared.before is None:
        return _NOT_SHOWN
    now, before = Decimal(str(compared.figures.error_rate)), Decimal(str(compared.before.error_rate))
    points = f"{(now - before) * _HUNDRED:+.2f}".rstrip("0").rstrip(".")
    return _written(f"{points} points", now - before, f"vs. {percent(float(before))} {_PREVIOUS}")


def _change(now: Decimal, before: Decimal, previous: str, period: str) -> SafeString:
    """Return `+12% vs. $3.10 in the previous period`. Without a positive amount before, there is no percentage."""
    compared = f"vs. {previous} {period}"
    if before <= 0:
        return _written("Up" if now > before else "", now - before, compared)
    return _written(f"{(now - before) * _HUNDRED / before:+,.0f}%", now - before, compared)


def _written(change: str, difference: Decimal, compared: str) -> SafeString:
    """Render a change. Its icon and its text carry the same information without color."""
    icon = "trending_flat" if not difference else "trending_up" if difference > 0 else "trending_down"
    return _with_icon(icon, change if difference else "No change", compared)


def _with_icon(icon: str, text: str, compared: str) -> SafeString:
    return format_html(
        '<span class="ct-change"><span class="material-symbols-outlined" aria-hidden="true">{}</span>'
        "<span><b>{}</b> {}</span></span>",
        icon,
        text,
        compared,
    )


_NOT_SHOWN = _with_icon("visibility_off", "No comparison", "the previous period is outside your plan's history")
