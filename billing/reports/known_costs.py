"""All known costs of a call, which of them counts, and why. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from billing.pricing.cost_choice import choose_cost
from billing.pricing.quote import Quote
from billing.types import FLAGS_BESIDE_USAGE, CostBasis, UnpricedReason


class CostRow(Protocol):
    """A row of the ledger, or an entry that would become one."""

    @property
    def cost_basis(self) -> str: ...

    @property
    def token_cost_usd(self) -> Decimal | None: ...

    @property
    def computed_cost_usd(self) -> Decimal | None: ...

    @property
    def provider_cost_usd(self) -> Decimal | None: ...

    @property
    def stated_cost_usd(self) -> Decimal | None: ...

    @property
    def gateway_cost_usd(self) -> Decimal | None: ...

    @property
    def unpriced_reason(self) -> str: ...

    @property
    def flags(self) -> Sequence[dict[str, Any]] | None: ...


@dataclass(frozen=True, slots=True)
class KnownCost:
    """A cost of a call, and whether it is the one that counts."""

    basis: CostBasis
    amount_usd: Decimal
    counts: bool


def known_costs(row: CostRow) -> list[KnownCost]:
    """Return the known costs in the order of their precedence. Empty for rows that are not calls."""
    is_computed = row.cost_basis == CostBasis.COMPUTED
    amounts = (
        (CostBasis.PROVIDER, row.provider_cost_usd),
        (CostBasis.SENDER, row.stated_cost_usd),
        (CostBasis.COMPUTED, row.token_cost_usd if is_computed else row.computed_cost_usd),
        (CostBasis.GATEWAY, row.gateway_cost_usd),
    )
    return [KnownCost(basis, amount, row.cost_basis == basis) for basis, amount in amounts if amount is not None]


def why_cost_counts(row: CostRow, quote: Quote) -> str:
    """Return why the cost of a call counts, for example `stated by the sender`. Empty for rows that are not calls."""
    if not row.cost_basis:
        return ""
    if quote.total_usd is None and quote.reason is None and row.unpriced_reason:
        quote = replace(quote, reason=UnpricedReason(row.unpriced_reason))
    choice = choose_cost(
        quote,
        provider_usd=row.provider_cost_usd,
        sender_usd=row.stated_cost_usd,
        gateway_usd=row.gateway_cost_usd,
        is_flagged=any(flag["code"] not in FLAGS_BESIDE_USAGE for flag in row.flags or ()),
    )
    return choice.why
