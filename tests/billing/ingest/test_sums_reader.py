"""Objects that have only sums of tokens are read as all others are, by every convention."""

from itertools import product

import pytest

from billing.ingest.usage.conventions import CONVENTIONS, Convention
from billing.ingest.usage.modalities import plain_quantities
from billing.ingest.usage.token_totals import Numbers, resolve_totals
from billing.ingest.usage.types import UnreadableError
from billing.ingest.usage.usage_reader import SumsReader

FIELDS = ("input", "output", "cache_read", "cache_write", "reasoning", "total")
COUNTS = ((0, 5, 20), (0, 7), (0, 5, 6), (0, 5), (0, 7, 8), (None, 12, 27, 32))


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda convention: convention.name)
def test_sums_are_read_as_their_totals_are_resolved(convention: Convention) -> None:
    for values in product(*COUNTS):
        known = {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}
        reader = SumsReader(tuple(enumerate(known)), convention, hides_thoughts=False)
        reading = reader.read(list(known.values()))
        numbers = Numbers((known.pop("input"),), **known)
        try:
            totals, flags = resolve_totals(numbers, convention, hides_thoughts=False)
        except UnreadableError:
            assert reading is None
        else:
            assert reading is not None
            assert (reading.quantities, list(reading.flags)) == (plain_quantities(totals), flags)
            assert [*reading.quantities] == [*plain_quantities(totals)]
