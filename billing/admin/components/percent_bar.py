"""A share of a total, as a percentage and as a bar (`admin/dashboard/share.html`)."""

from dataclasses import dataclass
from decimal import Decimal

from billing.admin.components import formatting

_HUNDRED = Decimal(100)
_MIN_PERCENT = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Share:
    """`width` is a percentage of the bar's width, for an SVG attribute."""

    text: str
    width: str


def share_of(amount: Decimal, total: Decimal) -> Share:
    """Return a share such as `12.3 %`; `-` if the total is not positive."""
    if total <= 0:
        return Share(formatting.NOTHING, "0")
    percent = amount * _HUNDRED / total
    text = f"< {_MIN_PERCENT} %" if 0 < percent < _MIN_PERCENT else f"{percent:,.1f} %"
    return Share(text, f"{min(max(percent, Decimal(0)), _HUNDRED):.3f}")
