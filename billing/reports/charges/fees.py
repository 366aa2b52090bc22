"""Commitments among the charges of a month: the fees, which are purchases, and what they cover. Read-only.

Covered usage is not billed: its effective cost is its part of the fee. What is idle of a fee is a charge of its own, so
the effective costs add up to the fee, as FOCUS requires. The part of a fee that was used is divided in proportion to
the measure that decides on it: tokens of a capacity, or the cost in the ledger.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from billing.reports.charges.charge import Charge, ChargeCategory, ChargeFigures, ChargeKey, CommitmentCharge
from billing.reports.statements.month_commitments import MonthCommitment
from costtrack.money import DECIMALS, ZERO

Covered = Mapping[int, Decimal]
"""What has been read of the usage that each commitment covers, in its measure, by id."""


class FeeCharges:
    """`covered` is what earlier parts have read, and grows with each charge."""

    def __init__(self, commitments: Sequence[MonthCommitment], covered: Covered) -> None:
        self._commitments = {commitment.id: commitment for commitment in commitments}
        self.covered = dict(covered)

    def of_usage(self, charge: Charge) -> Charge:
        """Return a charge with its part of the fee."""
        commitment = self._commitments.get(charge.key.commitment)
        if commitment is None:
            return charge
        before = self._used(commitment)
        measure = charge.figures.cost_usd if commitment.capacity is None else charge.tokens
        self.covered[commitment.id] = self.covered.get(commitment.id, ZERO) + measure
        effective = self._used(commitment) - before
        quantity = effective if commitment.capacity is None else measure
        committed = CommitmentCharge(commitment, is_used=True, quantity=quantity)
        return replace(charge, billed_usd=ZERO, effective_usd=effective, committed=committed)

    def of_month(self) -> Iterator[Charge]:
        """Yield the fees and their idle parts, when all usage has been read."""
        for commitment in self._commitments.values():
            if not commitment.accrued_usd:
                continue
            key = _key(commitment)
            capacity = commitment.capacity
            yield _charge(
                replace(key, category=ChargeCategory.PURCHASE, meter="Fee"),
                CommitmentCharge(commitment, None, commitment.accrued_usd if capacity is None else capacity),
                billed_usd=commitment.accrued_usd,
            )
            rest = commitment.used_usd - self._used(commitment)
            if rest:
                # For example tokens of calls without a known cost, which are not in the file.
                tokens = max(commitment.tokens - self.covered.get(commitment.id, ZERO), ZERO)
                committed = CommitmentCharge(commitment, is_used=True, quantity=rest if capacity is None else tokens)
                yield _charge(replace(key, meter="Usage without a cost"), committed, effective_usd=rest)
            if commitment.idle_usd:
                idle = commitment.idle_usd if capacity is None else commitment.idle_tokens
                committed = CommitmentCharge(commitment, is_used=False, quantity=idle)
                yield _charge(replace(key, meter="Idle"), committed, effective_usd=commitment.idle_usd)

    def _used(self, commitment: MonthCommitment) -> Decimal:
        """Return the used part of the fee for the usage that has been read."""
        whole = commitment.cost_usd if commitment.capacity is None else Decimal(commitment.tokens)
        if whole <= 0:
            return ZERO
        share = min(max(Fraction(self.covered.get(commitment.id, ZERO)) / Fraction(whole), Fraction(0)), Fraction(1))
        return Decimal(int(Fraction(commitment.used_usd) * share * 10**DECIMALS)).scaleb(-DECIMALS)


def corrected_usage(charge: Charge, commitment: MonthCommitment) -> Charge:
    """Return a correction of covered usage. The fee of its month is divided already."""
    committed = CommitmentCharge(commitment, is_used=True, quantity=None)
    return replace(charge, billed_usd=ZERO, effective_usd=ZERO, committed=committed)


def _key(commitment: MonthCommitment) -> ChargeKey:
    """Fees have no provider of their own; it is that of the usage if that is one."""
    covers = commitment.covers
    names = next((covers[name] for name in ("provider", "service") if len(covers.get(name, ())) == 1), [""])
    return ChargeKey(
        start=commitment.start,
        end=commitment.end,
        category=ChargeCategory.USAGE,
        provider=names[0],
        publisher=names[0],
        service=names[0],
        commitment=commitment.id,
    )


def _charge(
    key: ChargeKey, committed: CommitmentCharge, *, billed_usd: Decimal = ZERO, effective_usd: Decimal = ZERO
) -> Charge:
    figures = ChargeFigures(quantity=ZERO, cost_usd=ZERO)
    return Charge(key, figures, billed_usd, effective_usd, committed=committed, is_fee=True)
