"""A charge of a month: what it is of, its quantities and its costs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from billing.pricing.kinds import KINDS, MILLION, Unit
from billing.reports.statements.month_commitments import MonthCommitment
from costtrack.money import ZERO

_FRACTION_DIGITS = Decimal("1e-12")


class ChargeCategory(StrEnum):
    USAGE = "Usage"
    PURCHASE = "Purchase"
    CREDIT = "Credit"


@dataclass(frozen=True, slots=True, order=True)
class ChargeKey:
    """What charges of a day have in common that are added up. `kind` is one of `KINDS`; empty: an amount without unit
    prices. `corrected_month` is the closed month that a correction is of, and `corrects` the corrected event.
    `commitment` is the id of the one that covers it, and `rule` the number of the rule that splits it; 0: none."""

    start: datetime
    end: datetime
    category: ChargeCategory
    client_id: str = ""
    provider: str = ""
    publisher: str = ""
    service: str = ""
    model: str = ""
    region: str = ""
    kind: str = ""
    meter: str = ""
    priced_as: str = ""
    price_version_id: int = 0
    list_unit_price_usd: Decimal = ZERO
    contracted_unit_price_usd: Decimal = ZERO
    team: str = ""
    end_user: str = ""
    user_id: str = ""
    environment: str = ""
    capability: str = ""
    tags: tuple[str, ...] = ()
    corrected_month: str = ""
    corrects: str = ""
    reason: str = ""
    commitment: int = 0
    rule: int = 0


@dataclass(frozen=True, slots=True)
class ChargeFigures:
    """`quantity` is in the kind's unit; None for corrections and credits, which are amounts only. `cost_usd` is that in
    the ledger. `requests` are model calls, counted with their first kind."""

    quantity: Decimal | None
    cost_usd: Decimal
    requests: int = 0

    def __add__(self, other: "ChargeFigures") -> "ChargeFigures":
        quantities = [figures.quantity for figures in (self, other) if figures.quantity is not None]
        return ChargeFigures(
            sum(quantities, ZERO) if quantities else None,
            self.cost_usd + other.cost_usd,
            self.requests + other.requests,
        )


@dataclass(frozen=True, slots=True)
class CommitmentCharge:
    """What a charge has of a commitment: the part of the fee, and of the capacity or the committed spend. `is_used` is
    None for the fee itself."""

    commitment: MonthCommitment
    is_used: bool | None
    quantity: Decimal | None


@dataclass(frozen=True, slots=True)
class ChargeAllocation:
    """How a charge was split: `ratio` of it (0 to 1) went to `target`. `method_id` names the method, `measure` what it
    is in proportion to, and `measured` how much of that the target has; `rule` is the rule's name."""

    method_id: str
    rule: str
    version: int | None
    target: str
    ratio: Decimal
    measure: str = ""
    measured: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """`billed_usd` and `effective_usd` differ from the cost in the ledger for what a commitment covers.
    `priced_quantity` is that of a part of a charge. `is_fee`: a fee or a part of one, which is no usage. `bearer` is
    who bears the cost: the target of the rule or, without a rule, of the usage."""

    key: ChargeKey
    figures: ChargeFigures
    billed_usd: Decimal
    effective_usd: Decimal
    credential_name: str = ""
    committed: CommitmentCharge | None = None
    priced_quantity: Decimal | None = None
    allocation: ChargeAllocation | None = None
    is_fee: bool = False
    bearer: str = ""

    @property
    def pricing_quantity(self) -> Decimal | None:
        """The quantity in the unit of the unit prices, exactly where that is a finite decimal. An amount without unit
        prices is that many dollars."""
        if self.priced_quantity is not None or self.figures.quantity is None:
            return self.priced_quantity
        if not self.key.kind:
            return self.billed_usd if self.key.category is ChargeCategory.PURCHASE else self.figures.cost_usd
        return _priced(self.key.kind, self.figures.quantity)

    @property
    def list_usd(self) -> Decimal:
        """The cost by the list; that of an amount without unit prices is the amount."""
        return self._cost(self.key.list_unit_price_usd)

    @property
    def contracted_usd(self) -> Decimal:
        """The cost by the agreement with the provider."""
        return self._cost(self.key.contracted_unit_price_usd)

    def _cost(self, unit_price_usd: Decimal) -> Decimal:
        quantity = self.pricing_quantity
        if quantity is None:
            return self.figures.cost_usd
        return unit_price_usd * quantity if self.key.kind else quantity

    @property
    def tokens(self) -> Decimal:
        is_tokens = bool(self.key.kind) and KINDS[self.key.kind].unit is Unit.TOKENS
        return (self.figures.quantity or ZERO) if is_tokens else ZERO

    @property
    def target_dimensions(self) -> Mapping[str, str | tuple[str, ...]]:
        """What a rule can split by, by the names of the API."""
        return {"team": self.key.team, "end_user": self.key.end_user, "tag": self.key.tags}


def _priced(kind: str, quantity: Decimal) -> Decimal:
    per = KINDS[kind].per
    if per in (1, 1000, MILLION) and KINDS[kind].unit not in (Unit.SECONDS, Unit.STORAGE):
        return quantity / per
    return (quantity / per).quantize(_FRACTION_DIGITS)
