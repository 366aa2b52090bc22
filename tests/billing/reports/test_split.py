"""Splitting amounts: exact whatever the weights, the same each time, and nothing outside the rules changes."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.reports.allocation.allocation import UNALLOCATED, Cell, allocate
from billing.reports.allocation.rules import AllocationBasis, SplitRule
from billing.reports.allocation.split import split, split_rows
from billing.types import AllocationTarget, SplitMeasure, SplitMethod
from costtrack.money import DECIMALS
from tests.profiles import examples

NAMES = ("core", "search", "ops", "é", "Z")
amounts = st.decimals(min_value=-(10**12), max_value=10**12, places=DECIMALS) | st.integers(-9, 9).map(
    lambda units: Decimal(units).scaleb(-DECIMALS)
)
weights = st.dictionaries(
    st.sampled_from(NAMES), st.fractions(min_value=0, max_value=10**6, max_denominator=10**6), min_size=1
)
cells = st.lists(
    st.builds(
        Cell,
        rule=st.integers(0, 3),
        target=st.sampled_from((UNALLOCATED, *NAMES[:3])),
        cost_usd=amounts,
        requests=st.integers(-3, 50),
        tokens=st.integers(0, 10**6),
    ),
    max_size=12,
)
PERCENTAGES = ({"core": Decimal(100)}, {"core": Decimal("33.3"), "ops": Decimal("66.7")})


@st.composite
def split_rules(draw: st.DrawFn) -> SplitRule:
    method = draw(st.sampled_from(SplitMethod))
    targets: Mapping[str, Decimal | None] = dict.fromkeys(draw(st.lists(st.sampled_from(NAMES), unique=True)))
    if method is SplitMethod.FIXED:
        targets = {**draw(st.sampled_from(PERCENTAGES))}
    measure = draw(st.sampled_from(SplitMeasure)) if method is SplitMethod.PROPORTIONAL else None
    return SplitRule("rule", method, measure=measure, measures_source=draw(st.booleans()), targets=targets)


@examples(200)
@given(amounts, weights)
def test_shares_add_up_and_differ_from_the_proportion_by_less_than_the_last_digit(
    amount: Decimal, parts: dict[str, Fraction]
) -> None:
    shares = split(amount, parts)
    total = sum(parts.values())
    if not total:
        assert shares == {}
        return
    assert sum(shares.values()) == amount
    for name, share in shares.items():
        assert abs(Fraction(share) - Fraction(amount) * parts[name] / total) < Fraction(1, 10**DECIMALS)
    backwards = split(amount, dict(reversed(parts.items())))
    assert backwards == shares
    assert split(-amount, parts) == {name: -share for name, share in shares.items()}


def test_what_remains_goes_to_the_largest_remainders_and_of_equal_ones_to_the_first_name() -> None:
    unit = Decimal(1).scaleb(-DECIMALS)
    even = dict.fromkeys(("b", "a", "c"), Fraction(1))
    assert split(unit * 2, even) == {"a": unit, "b": unit, "c": 0}
    assert split(unit * 3, {"a": Fraction(1), "b": Fraction(6)}) == {"a": 0, "b": unit * 3}
    assert split(Decimal(10), even)["a"] - split(Decimal(10), even)["b"] == unit


@examples(100)
@given(st.lists(amounts, max_size=6), weights)
def test_shares_of_rows_add_up_in_both_directions(rows: list[Decimal], parts: dict[str, Fraction]) -> None:
    shares = split_rows(rows, parts)
    if not sum(parts.values()):
        assert all(not row for row in shares)
        return
    assert [sum(row.values()) for row in shares] == rows
    of_sum = split(sum(rows, Decimal(0)), parts)
    assert {name: sum(row[name] for row in shares) for name in parts} == (of_sum if rows else dict.fromkeys(parts, 0))


@examples(200)
@given(st.lists(split_rules(), max_size=3), cells)
def test_an_allocation_adds_up_and_changes_nothing_outside_its_rules(rules: list[SplitRule], usage: list[Cell]) -> None:
    usage = [cell for cell in usage if cell.rule <= len(rules)]
    month, basis = date(2026, 10, 1), AllocationBasis(AllocationTarget.TEAM)
    allocation = allocate(month, basis, rules, usage)

    total = sum((cell.cost_usd for cell in usage), Decimal(0))
    assert allocation.cost_usd == total == sum(row.total_usd for row in allocation.rows)
    for result in allocation.rules:
        assert sum(result.given.values()) == sum(result.taken.values())
        assert result.source_usd == sum(result.given.values()) or not result.is_split
    in_rules = {cell.target for cell in usage if cell.rule} | {
        name for result in allocation.rules for name in result.given
    }
    for row in allocation.rows:
        if row.target not in in_rules:
            assert row.total_usd == row.direct_usd == sum(c.cost_usd for c in usage if c.target == row.target)
    assert allocate(month, basis, rules, list(reversed(usage))) == allocation
