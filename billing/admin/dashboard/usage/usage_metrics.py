"""The figures at the head of the usage page, each beside what it was before."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from billing.admin.components import formatting
from billing.reports.usage.figures import Figures
from billing.reports.usage.headline import Compared, Headline
from costtrack.money import usd

_HUNDRED = Decimal(100)
_SAME = Decimal("0.5")  # percent
_MANY = 1_000  # percent; from there on people think in times


@dataclass(frozen=True, slots=True)
class Change:
    """`icon` and `text` say the same, so that neither needs a color; `beside` is what it is compared with."""

    icon: str
    text: str
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: str
    change: Change
    parts: str = ""


def figures_of_spend(found: Headline) -> tuple[Figure, Figure, Figure]:
    """Today, seven days, and the month."""
    return (
        _spend("Spend today", found.today, "yesterday until this time"),
        _spend("Last 7 days", found.week, "in the 7 days before"),
        _spend("Month to date", found.month, "in as many days before"),
    )


def figures_of_window(found: Compared) -> tuple[Figure, ...]:
    now, of = found.figures, "in the period before"
    return (
        _spend("Cost", found, of),
        Figure(
            "Requests",
            formatting.count(now.requests),
            _change(found, lambda figures: Decimal(figures.requests), formatting.count, of),
            f"{formatting.count(now.errors)} failed",
        ),
        Figure(
            "Tokens",
            formatting.count(now.total_tokens),
            _change(found, lambda figures: Decimal(figures.total_tokens), formatting.count, of),
            f"{formatting.count(now.prompt_tokens)} prompt, {formatting.count(now.completion_tokens)} completion",
        ),
        Figure("Error rate", percent(now.error_rate), _change_of_rate(found, of), "Failed requests of all"),
    )


def percent(rate: float) -> str:
    """`1.25 %` of a rate from 0 to 1."""
    return f"{rate * 100:.2f}".rstrip("0").rstrip(".") + " %"


def _spend(name: str, found: Compared, of: str) -> Figure:
    return Figure(name, usd(found.figures.cost_usd), _change(found, lambda figures: figures.cost_usd, usd, of))


def _change(found: Compared, figure: Callable[[Figures], Decimal], write: Callable[..., str], of: str) -> Change:
    if found.before is None:
        return _NOT_SHOWN
    now, before = figure(found.figures), figure(found.before)
    told = write(before if write is usd else int(before))
    if now == before:
        text, beside = ("As much", f"as {of}") if now else ("Nothing", f"{of} either")
        return Change("trending_flat", text, beside)
    if before <= 0:
        return Change("trending_up", "More", f"than {told} {of}")
    percents = (now - before) * _HUNDRED / before
    if abs(percents) < _SAME:
        return Change("trending_flat", "About as much", f"as {told} {of}")
    if percents >= _MANY:
        return Change("trending_up", f"{now / before:,.0f} times as much", f"as {told} {of}")
    return _more(f"{abs(percents):,.0f} %", percents, f"than {told} {of}")


def _change_of_rate(found: Compared, of: str) -> Change:
    if found.before is None:
        return _NOT_SHOWN
    now, before = Decimal(str(found.figures.error_rate)), Decimal(str(found.before.error_rate))
    points = (now - before) * _HUNDRED
    if not points:
        return Change("trending_flat", "The same", of)
    number = f"{abs(points):.2f}".rstrip("0").rstrip(".")
    return _more(f"{number} points", points, f"than {percent(float(before))} {of}")


def _more(by: str, difference: Decimal, beside: str) -> Change:
    icon, word = ("trending_up", "more") if difference > 0 else ("trending_down", "less")
    return Change(icon, f"{by} {word}", beside)


_NOT_SHOWN = Change("visibility_off", "No comparison", "the plan does not show what was before")
