"""A share of a total, as a percentage and as a bar."""

from dataclasses import dataclass
from decimal import Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting

_HUNDRED = Decimal(100)
_MIN_PERCENT = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Share:
    """`width` is a percentage of the bar's width, for an SVG attribute."""

    text: str
    width: str


def share_of(amount: Decimal, total: Decimal) -> Share:
    """Return a share such as `12.3%`; `-` if the total is not positive."""
    if total <= 0:
        return Share(formatting.NOTHING, "0")
    percent = amount * _HUNDRED / total
    text = f"< {_MIN_PERCENT}%" if 0 < percent < _MIN_PERCENT else f"{percent:,.1f}%"
    return Share(text, f"{min(max(percent, Decimal(0)), _HUNDRED):.3f}")


def gauge(share: Share) -> SafeString:
    """Render the bar alone, beside a text with the same information."""
    return format_html(
        '<span class="ct-gauge" aria-hidden="true"><svg width="100%" height="100%" focusable="false">'
        '<rect class="ct-spent" width="{}%" height="100%"></rect></svg></span>',
        share.width,
    )


def percent_bar(amount: Decimal, total: Decimal) -> SafeString:
    """Render the share as a text with a bar."""
    share = share_of(amount, total)
    return format_html('<span class="ct-share"><span>{}</span>{}</span>', share.text, gauge(share))
