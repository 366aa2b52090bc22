"""A limit's gauge: how much of the amount is spent and held, with a mark at each threshold. The text that says the same
always stands beside it."""

from dataclasses import dataclass
from decimal import Decimal

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from billing.limits.listing import percent_of
from billing.limits.types import Evaluation, LimitStatus, Rule
from billing.types import LimitState
from costtrack.money import ZERO, usd

_HUNDRED = Decimal(100)
_FULL = "100"
# Classes of the style sheet.
TONES = {
    LimitState.OK: "ct-calm",
    LimitState.WARNING: "ct-near",
    LimitState.EXCEEDED: "ct-reached",
    LimitState.PAUSED: "ct-reached",
}


@dataclass(frozen=True, slots=True)
class Gauge:
    """Positions are percents of the gauge's width, as attributes of SVG have them."""

    tone: str
    spent: str
    reserved: str
    marks: tuple[str, ...]
    end: str
    """Where the amount is, if more than it is spent and held; else empty."""
    percent: int
    """Of the amount that is spent, at most 100; what a screen reader tells."""
    sentence: str


def gauge(status: LimitStatus) -> Gauge:
    rule, evaluation = status.rule, status.evaluation
    whole = max(rule.amount_usd, evaluation.spent_usd + evaluation.reserved_usd)
    is_over = whole > rule.amount_usd
    return Gauge(
        tone=TONES[evaluation.state],
        spent=_position(max(evaluation.spent_usd, ZERO), whole),
        reserved=_position(evaluation.reserved_usd, whole),
        marks=tuple(_position(amount, whole) for amount in _marked_amounts(rule) if 0 < amount < rule.amount_usd),
        end=_position(rule.amount_usd, whole) if is_over else "",
        percent=min(max(percent_spent(status), 0), 100),
        sentence=sentence(status),
    )


def bar(status: LimitStatus, *, is_large: bool = False) -> SafeString:
    """The gauge as HTML, without the text beside it."""
    return render_to_string("admin/billing/spendlimit/gauge.html", {"gauge": gauge(status), "is_large": is_large})


def labelled(status: LimitStatus, *, of: str = "") -> SafeString:
    """The gauge with its amounts below. `of` names whose it is, where that is not said beside it."""
    return render_to_string(
        "admin/billing/spendlimit/labelled_gauge.html",
        {
            "bar": bar(status),
            "spent": usd(status.evaluation.spent_usd),
            "amount": usd(status.rule.amount_usd),
            "beside": beside(status),
            "of": of,
        },
    )


def beside(status: LimitStatus) -> str:
    """`81 %, $2.00 held`, what there is to say besides the two amounts."""
    held = status.evaluation.reserved_usd
    return f"{percent_spent(status):,} %" + (f", {usd(held)} held" if held else "")


def sentence(status: LimitStatus) -> str:
    evaluation: Evaluation = status.evaluation
    held = f" and {usd(evaluation.reserved_usd)} held" if evaluation.reserved_usd else ""
    return f"{usd(evaluation.spent_usd)} spent{held} of {usd(status.rule.amount_usd)}"


def percent_spent(status: LimitStatus) -> int:
    """Whole percents, rounded down: 100 is said only when the amount is reached."""
    return int(percent_of(status))


def threshold_usd(rule: Rule, threshold: int) -> Decimal:
    return rule.amount_usd * threshold / _HUNDRED


def _marked_amounts(rule: Rule) -> list[Decimal]:
    amounts = {threshold_usd(rule, threshold) for threshold in rule.thresholds}
    if rule.soft_amount_usd is not None:
        amounts.add(rule.soft_amount_usd)
    return sorted(amounts)


def _position(amount: Decimal, whole: Decimal) -> str:
    return _FULL if amount >= whole else f"{amount * _HUNDRED / whole:.3f}"
