"""Shared cost among the charges of a month: the charges that rules of allocation split into one for each target.

The costs and quantities of the parts add up to the charge, and the costs of a target's parts to its share in the report
of shared cost, to the last digit (`billing.reports.allocation.split`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from billing.reports.allocation.allocation import RuleResult, allocations
from billing.reports.allocation.rules import AllocationBasis, applicable, list_rules
from billing.reports.allocation.split import Weights, split, split_units
from billing.reports.charges.charge import Charge, ChargeAllocation
from billing.reports.months import ReportMonth
from billing.reports.statements.months import StatementMonth
from billing.types import SplitMethod
from costtrack.money import ZERO
from organizations.models import Organization

_QUANTITY_DECIMALS = 12
Split = Mapping[int, Decimal]
"""The costs that each rule has split so far, by its number counted from 1."""


def split_rules(organization: Organization, month: StatementMonth, basis: AllocationBasis) -> list[RuleResult]:
    """Return the rules of a month with their weights, in the order in which usage belongs to them. Raises InvalidError
    if there are too many events to read."""
    if not applicable(list_rules(organization, basis), month.month):
        return []
    (allocation,) = allocations(organization=organization, basis=basis, months=[ReportMonth(month.month, month.span)])
    return list(allocation.rules)


class SharedCharges:
    """`split` is what earlier parts have split, and grows with each charge."""

    def __init__(self, rules: Sequence[RuleResult], basis: AllocationBasis, split_before: Split) -> None:
        self._rules, self._basis = rules, basis
        self.split = dict(split_before)

    def parts(self, charge: Charge) -> Iterator[Charge]:
        """Yield the parts of a charge, by name. A charge without a rule, or whose rule has nothing to divide by, is its
        only part."""
        number = charge.key.rule
        result = self._rules[number - 1] if number else None
        if result is None or not result.weights:
            yield replace(charge, bearer=self._basis.target_of(charge.target_dimensions))
            return
        cost = charge.figures.cost_usd
        costs = self._costs(number, result.weights, cost)
        billed = costs if charge.billed_usd == cost else split(charge.billed_usd, result.weights)
        effective = costs if charge.effective_usd == cost else split(charge.effective_usd, result.weights)
        quantities = _quantities(charge.figures.quantity, result.weights)
        priced = _quantities(charge.pricing_quantity if charge.key.kind else None, result.weights)
        committed = _quantities(charge.committed.quantity if charge.committed is not None else None, result.weights)
        requests = split_units(charge.figures.requests, result.weights)
        for target, ratio in _ratios(result.weights).items():
            yield replace(
                charge,
                figures=replace(
                    charge.figures, quantity=quantities[target], cost_usd=costs[target], requests=requests[target]
                ),
                billed_usd=billed[target],
                effective_usd=effective[target],
                priced_quantity=priced[target],
                committed=replace(charge.committed, quantity=committed[target]) if charge.committed else None,
                allocation=_allocation(result, target, ratio),
                bearer=target,
            )

    def _costs(self, number: int, weights: Weights, cost: Decimal) -> dict[str, Decimal]:
        before = self.split.get(number, ZERO)
        self.split[number] = before + cost
        shares_before = split(before, weights)
        return {name: share - shares_before[name] for name, share in split(before + cost, weights).items()}


def _quantities(quantity: Decimal | None, weights: Weights) -> dict[str, Decimal | None]:
    if quantity is None:
        return dict.fromkeys(weights)
    decimals = max(_QUANTITY_DECIMALS, -int(quantity.as_tuple().exponent))
    shares = split_units(int(quantity.scaleb(decimals)), weights)
    return {name: Decimal(share).scaleb(-decimals) for name, share in shares.items()}


def _ratios(weights: Weights) -> dict[str, Decimal]:
    shares = split_units(10**_QUANTITY_DECIMALS, weights)
    return {name: Decimal(share).scaleb(-_QUANTITY_DECIMALS) for name, share in shares.items()}


def _allocation(result: RuleResult, target: str, ratio: Decimal) -> ChargeAllocation:
    rule = result.rule
    measure = rule.measure.value if rule.method is SplitMethod.PROPORTIONAL and rule.measure is not None else ""
    return ChargeAllocation(
        method_id=f"{rule.method.value}-{measure}" if measure else rule.method.value,
        rule=rule.name,
        version=rule.version,
        target=target,
        ratio=ratio,
        measure=measure,
        measured=_decimal(result.weights[target]) if measure else None,
    )


def _decimal(weight: Fraction) -> Decimal:
    return Decimal(weight.numerator) / Decimal(weight.denominator)
