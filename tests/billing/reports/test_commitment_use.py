"""How much of a commitment is used."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from billing.models import Commitment
from billing.reports import commitments
from billing.reports.commitments import CoveredUsage
from billing.types import FeePeriod
from costtrack.calendar import Calendar, Span

NOVEMBER = Span(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


@pytest.mark.parametrize("tokens_per_minute", [None, 1])
def test_not_more_than_the_whole_fee_is_used(tokens_per_minute: int | None) -> None:
    commitment = Commitment(
        amount_usd=Decimal(300),
        period=FeePeriod.MONTH,
        starts=date(2026, 11, 1),
        tokens_per_minute=tokens_per_minute,
    )
    usage = CoveredUsage(Decimal(900), requests=3, tokens=10**9)

    use = commitments._use(commitment, NOVEMBER, usage, Calendar(ZoneInfo("UTC")), NOVEMBER.end)

    assert (use.used_share, use.used_usd, use.idle_usd) == (1, 300, 0)
