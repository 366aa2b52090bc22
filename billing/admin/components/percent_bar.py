"""A part of a whole: as a percentage, and as a bar (`admin/dashboard/share.html`)."""

from dataclasses import dataclass
from decimal import Decimal

from billing.admin.components import formatting

_HUNDRED = Decimal(100)
_LEAST = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Share:
    """`width` is in percents of the bar's, as attributes of SVG have it."""

    text: str
    width: str


def share_of(part: Decimal, whole: Decimal) -> Share:
    """`12.3 %`. Of nothing there is no share."""
    if whole <= 0:
        return Share(formatting.NOTHING, "0")
    percents = part * _HUNDRED / whole
    text = f"< {_LEAST} %" if 0 < percents < _LEAST else f"{percents:,.1f} %"
    return Share(text, f"{min(max(percents, Decimal(0)), _HUNDRED):.3f}")
