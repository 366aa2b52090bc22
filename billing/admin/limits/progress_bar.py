"""A limit's gauge: the spent and reserved share of the amount, with a mark at each threshold. It always appears with a
text that has the same information."""

from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from billing.limits.status import percent_of
from billing.limits.types import Evaluation, LimitStatus, Rule
from billing.types import LimitState, amount_text
from costtrack.money import ZERO

_HUNDRED = Decimal(100)
_FULL = "100"
# CSS classes.
TONES = {
    LimitState.OK: "ct-calm",
    LimitState.WARNING: "ct-near",
    LimitState.EXCEEDED: "ct-reached",
    LimitState.PAUSED: "ct-reached",
}


@dataclass(frozen=True, slots=True)
class Gauge:
    """Positions are percentages of the gauge's width, for SVG attributes."""

    tone: str
    spent: str
    reserved: str
    marks: tuple[str, ...]
    end: str
    """The position of the amount if more than that is spent and reserved; else empty."""
    percent: int
    """The spent share of the amount, at most 100, for screen readers."""
    sentence: str


def gauge(status: LimitStatus) -> Gauge:
    rule, evaluation = status.rule, status.evaluation
    total = max(rule.amount_usd, evaluation.spent_usd + evaluation.reserved_usd)
    is_over = total > rule.amount_usd
    return Gauge(
        tone=TONES[evaluation.state],
        spent=_position(max(evaluation.spent_usd, ZERO), total),
        reserved=_position(evaluation.reserved_usd, total),
        marks=tuple(_position(amount, total) for amount in _marked_amounts(rule) if 0 < amount < rule.amount_usd),
        end=_position(rule.amount_usd, total) if is_over else "",
        percent=min(max(percent_spent(status), 0), 100),
        sentence=sentence(status),
    )


def bar(status: LimitStatus, *, is_large: bool = False) -> SafeString:
    """Render the gauge without its text."""
    return render_to_string("admin/billing/spendlimit/gauge.html", {"gauge": gauge(status), "is_large": is_large})


def labeled(status: LimitStatus, *, of: str = "") -> SafeString:
    """Render the gauge with its amounts below. `of` names the value, if the page does not show it otherwise."""
    return render_to_string(
        "admin/billing/spendlimit/labeled_gauge.html",
        {
            "bar": bar(status),
            "spent": amount_text(status.evaluation.spent_usd, status.rule.unit),
            "amount": amount_text(status.rule.amount_usd, status.rule.unit),
            "summary": summary(status),
            "of": of,
        },
    )


def summary(status: LimitStatus) -> str:
    """Return `81%, $2.00 reserved`, which is shown after the two amounts."""
    reserved = status.evaluation.reserved_usd
    return f"{percent_spent(status):,}%" + (f", {amount_text(reserved, status.rule.unit)} reserved" if reserved else "")


def sentence(status: LimitStatus) -> str:
    evaluation: Evaluation = status.evaluation
    text_of = partial(amount_text, unit=status.rule.unit)
    reserved = f" and {text_of(evaluation.reserved_usd)} reserved" if evaluation.reserved_usd else ""
    return f"{text_of(evaluation.spent_usd)} spent{reserved} of {text_of(status.rule.amount_usd)}"


def percent_spent(status: LimitStatus) -> int:
    """Return the spent percentage, rounded down, so that 100 means that the amount is reached."""
    return int(percent_of(status))


def threshold_usd(rule: Rule, threshold: int) -> Decimal:
    return rule.amount_usd * threshold / _HUNDRED


def _marked_amounts(rule: Rule) -> list[Decimal]:
    amounts = {threshold_usd(rule, threshold) for threshold in rule.thresholds}
    if rule.soft_amount_usd is not None:
        amounts.add(rule.soft_amount_usd)
    return sorted(amounts)


def _position(amount: Decimal, total: Decimal) -> str:
    return _FULL if amount >= total else f"{amount * _HUNDRED / total:.3f}"
