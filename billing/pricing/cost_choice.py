"""Which of the known costs of a call counts. Pure."""

from dataclasses import dataclass
from decimal import Decimal

from billing.pricing.agreements import Agreement
from billing.pricing.quote import Quote
from billing.types import CostBasis, Exactness


@dataclass(frozen=True, slots=True)
class CostChoice:
    """The cost that counts. `list_usd` is without the organization's agreement; `why` names what was passed over."""

    basis: CostBasis
    amount_usd: Decimal | None = None
    list_usd: Decimal | None = None
    exactness: Exactness = Exactness.UNKNOWN
    why: str = ""


def choose_cost(
    quote: Quote,
    *,
    provider_usd: Decimal | None = None,
    sender_usd: Decimal | None = None,
    gateway_usd: Decimal | None = None,
    is_flagged: bool = False,
    agreement: Agreement | None = None,
) -> CostChoice:
    """Return the cost that counts, in this order: the provider's bill, the sender's statement, ours if everything was
    read, a gateway's estimate, ours with its flags. An agreement applies to ours (in the quote) and to estimates, never
    to a bill.
    """
    if provider_usd is not None:
        return CostChoice(CostBasis.PROVIDER, provider_usd, provider_usd, Exactness.REPORTED, "the provider's own bill")
    if sender_usd is not None:
        return CostChoice(CostBasis.SENDER, sender_usd, sender_usd, Exactness.REPORTED, "stated by the sender")
    is_computed = quote.total_usd is not None
    if is_computed and not is_flagged:
        exactness = Exactness.ESTIMATED if quote.is_estimate else Exactness.COMPUTED
        why = "computed, with an estimated unit price" if quote.is_estimate else "computed from the price"
        return CostChoice(CostBasis.COMPUTED, quote.total_usd, quote.list_total_usd, exactness, why)
    if gateway_usd is not None:
        amount = agreement.discounted(gateway_usd) if agreement is not None and not agreement.kinds else gateway_usd
        why = "the gateway's estimate: " + ("the usage was not read in full" if is_computed else _unknown(quote))
        return CostChoice(CostBasis.GATEWAY, amount, gateway_usd, Exactness.ESTIMATED, why)
    if is_computed:
        why = "computed from what was read; see the flags"
        return CostChoice(CostBasis.COMPUTED, quote.total_usd, quote.list_total_usd, Exactness.FLAGGED, why)
    return CostChoice(CostBasis.UNKNOWN, why=_unknown(quote))


def _unknown(quote: Quote) -> str:
    reason = quote.reason.value if quote.reason is not None else "there is no computed cost"
    return f"{reason}: {', '.join(quote.unknown)}" if quote.unknown else reason
