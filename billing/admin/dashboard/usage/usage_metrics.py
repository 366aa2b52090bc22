"""The headline figures of the usage page, each compared with the previous period."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from billing.admin.components import formatting
from billing.reports.usage.figures import Figures
from billing.reports.usage.totals import Comparison, Headline
from costtrack.money import usd

_HUNDRED = Decimal(100)
_SAME = Decimal("0.5")  # percent
_MANY = 1_000  # percent; from here on a factor is shown


@dataclass(frozen=True, slots=True)
class Change:
    """`icon` and `text` carry the same information without color; `comparison` is what the figure is compared with."""

    icon: str
    text: str
    comparison: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: str
    change: Change
    detail: str = ""


def figures_of_spend(compared: Headline) -> tuple[Figure, Figure, Figure]:
    """Return the spend of today, of the last 7 days, and of the month."""
    return (
        _spend("Spend today", compared.today, "yesterday until this time"),
        _spend("Last 7 days", compared.week, "in the 7 days before"),
        _spend("Month to date", compared.month, "in as many days before"),
    )


def figures_of_window(compared: Comparison) -> tuple[Figure, ...]:
    now, of = compared.figures, "in the period before"
    return (
        _spend("Cost", compared, of),
        Figure(
            "Requests",
            formatting.count(now.requests),
            _change(compared, lambda figures: Decimal(figures.requests), formatting.count, of),
            f"{formatting.count(now.errors)} failed",
        ),
        Figure(
            "Tokens",
            formatting.count(now.total_tokens),
            _change(compared, lambda figures: Decimal(figures.total_tokens), formatting.count, of),
            f"{formatting.count(now.prompt_tokens)} prompt, {formatting.count(now.completion_tokens)} completion",
        ),
        Figure("Error rate", percent(now.error_rate), _change_of_rate(compared, of), "Failed requests of all"),
    )


def percent(rate: float) -> str:
    """Format a rate from 0 to 1 as `1.25 %`."""
    return f"{rate * 100:.2f}".rstrip("0").rstrip(".") + " %"


def _spend(name: str, compared: Comparison, of: str) -> Figure:
    return Figure(name, usd(compared.figures.cost_usd), _change(compared, lambda figures: figures.cost_usd, usd, of))


def _change(compared: Comparison, figure: Callable[[Figures], Decimal], write: Callable[..., str], of: str) -> Change:
    if compared.before is None:
        return _NOT_SHOWN
    now, before = figure(compared.figures), figure(compared.before)
    previous = write(before if write is usd else int(before))
    if now == before:
        text, comparison = ("As much", f"as {of}") if now else ("Nothing", f"{of} either")
        return Change("trending_flat", text, comparison)
    if before <= 0:
        return Change("trending_up", "More", f"than {previous} {of}")
    percents = (now - before) * _HUNDRED / before
    if abs(percents) < _SAME:
        return Change("trending_flat", "About as much", f"as {previous} {of}")
    if percents >= _MANY:
        return Change("trending_up", f"{now / before:,.0f} times as much", f"as {previous} {of}")
    return _more(f"{abs(percents):,.0f} %", percents, f"than {previous} {of}")


def _change_of_rate(compared: Comparison, of: str) -> Change:
    if compared.before is None:
        return _NOT_SHOWN
    now, before = Decimal(str(compared.figures.error_rate)), Decimal(str(compared.before.error_rate))
    points = (now - before) * _HUNDRED
    if not points:
        return Change("trending_flat", "The same", of)
    number = f"{abs(points):.2f}".rstrip("0").rstrip(".")
    return _more(f"{number} points", points, f"than {percent(float(before))} {of}")


def _more(by: str, difference: Decimal, comparison: str) -> Change:
    icon, direction = ("trending_up", "more") if difference > 0 else ("trending_down", "less")
    return Change(icon, f"{by} {direction}", comparison)


_NOT_SHOWN = Change("visibility_off", "No comparison", "the previous period is outside your plan's history")
