"""Calls whose reported and computed costs are both known and differ, with the lines of both and the likely cause.
Read-only."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal
from functools import partial

from django.db.models import Case, Count, F, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Abs, Coalesce
from django.db.models.lookups import GreaterThan

from billing.ledger.calls import call_of
from billing.ledger.net_cost import adjustments_of
from billing.models import PriceVersion, UsageEvent
from billing.models.ledger import UsageEventQuerySet
from billing.pricing.agreements import Agreement
from billing.pricing.price_book import PriceBook, called_model, compile_price, price_book, quote_at
from billing.pricing.quote import Call, CompiledPrices, Quote, QuoteLine
from billing.reports.cursors import Page, Position, page_of
from billing.reports.price_check.causes import Cause, ComparedCall, OtherPrice, likely_cause, unread_numbers
from billing.reports.price_check.selection import CallSelection
from billing.types import CostBasis, DifferenceCause, EventKind
from costtrack.date_text import day_text
from costtrack.money import ZERO
from organizations.models import Organization

_PERCENT = 100
_REPORTED = Coalesce("provider_cost_usd", "stated_cost_usd", "gateway_cost_usd")
_COMPUTED = Case(When(cost_basis=CostBasis.COMPUTED.value, then=F("token_cost_usd")), default=F("computed_cost_usd"))


@dataclass(frozen=True, slots=True)
class ModelDifference:
    """Calls of one model whose costs differ, their sums, and the number of calls with two known costs."""

    service: str
    model: str
    compared: int
    events: int
    reported_usd: Decimal
    computed_usd: Decimal

    @property
    def difference_usd(self) -> Decimal:
        return self.reported_usd - self.computed_usd


@dataclass(frozen=True, slots=True)
class ComparedLine:
    """The charge for one kind, as computed and as the cause explains the reported cost. None: no charge."""

    kind: str
    computed: QuoteLine | None
    reported: QuoteLine | None


@dataclass(frozen=True, slots=True)
class CallDifference:
    """A call whose two known costs differ. `reported_basis` says where the reported one comes from; the event's
    `cost_basis` which one counts."""

    event: UsageEvent
    reported_basis: CostBasis
    reported_usd: Decimal
    computed_usd: Decimal
    cause: Cause
    lines: Sequence[ComparedLine]

    @property
    def difference_usd(self) -> Decimal:
        return self.reported_usd - self.computed_usd

    @property
    def percent(self) -> Decimal | None:
        """The difference in percent of the computed cost; None if that is zero."""
        return self.difference_usd / self.computed_usd * _PERCENT if self.computed_usd else None


def model_differences(organization: Organization, selection: CallSelection) -> Sequence[ModelDifference]:
    """Return the models with calls whose costs differ, the largest difference first."""
    differs = _differs(selection.percent)
    groups = (
        _compared_calls(organization, selection)
        .values("service", "model")
        .annotate(
            compared=Count("id"),
            events=Count("id", filter=differs),
            reported_usd=Sum("reported", filter=differs),
            computed_usd=Sum("computed", filter=differs),
        )
        .filter(events__gt=0)
    )
    differences = [ModelDifference(**group) for group in groups]
    return sorted(differences, key=lambda row: (-abs(row.difference_usd), row.service, row.model))


def call_differences(
    *, organization: Organization, selection: CallSelection, after: Position | None, limit: int
) -> Page[CallDifference, Position]:
    """Return the calls whose costs differ after a position, the newest first."""
    events = _compared_calls(organization, selection).filter(_differs(selection.percent))
    if after is not None:
        events = events.before(after.at, after.id)
    rows = list(events.order_by("-occurred_at", "-id")[: limit + 1])
    page = page_of(rows, limit, lambda event: Position(event.occurred_at, event.id))
    return Page(_explained(organization, page.rows), page.last)


def _compared_calls(organization: Organization, selection: CallSelection) -> UsageEventQuerySet:
    """Return the calls of a selection with two known costs, annotated with both."""
    calls = UsageEvent.objects.of(organization).filter(kind=EventKind.MODEL_CALL.value, **selection.conditions)
    return calls.annotate(reported=_REPORTED, computed=_COMPUTED).filter(reported__isnull=False, computed__isnull=False)


def _differs(percent: Decimal) -> Q:
    difference = Abs(F("reported") - F("computed")) * Value(_PERCENT)
    return Q(GreaterThan(difference, F("computed") * Value(percent)))


# --- The lines and the cause of each ---------------------------------------------------------------------------


def _explained(organization: Organization, events: Sequence[UsageEvent]) -> list[CallDifference]:
    if not events:
        return []
    prices = _Prices(organization, events)
    adjustments = adjustments_of(events)
    return [_difference(event, call_of(event, adjustments.get(event.pk, ())), prices) for event in events]


def _difference(event: UsageEvent, call: Call, prices: "_Prices") -> CallDifference:
    reported_usd, computed_usd = event.reported, event.computed  # type: ignore[attr-defined]  # annotations
    basis = CostBasis(event.cost_basis)
    compared = _compare(event, call, prices, reported_usd, computed_usd)
    cause = likely_cause(compared) if compared is not None else Cause(DifferenceCause.UNKNOWN)
    return CallDifference(
        event,
        CostBasis.GATEWAY if basis is CostBasis.COMPUTED else basis,
        reported_usd,
        computed_usd,
        cause,
        _side_by_side(compared.quote.lines if compared is not None else (), cause.lines),
    )


def _compare(
    event: UsageEvent,
    call: Call,
    prices: "_Prices",
    reported_usd: Decimal,
    computed_usd: Decimal,
) -> ComparedCall | None:
    """Return the call with its computed lines; None if the price that it was computed at is no longer known."""
    version = prices.by_id.get(event.price_version_id or 0)
    if version is None:
        return None
    price = prices.compiled(version, call)
    agreements, quote = _as_computed(price, call, prices.current.agreements, computed_usd)
    flags = event.flags or []
    return ComparedCall(
        call,
        price,
        quote,
        reported_usd,
        agreements,
        list(prices.other_prices(version, call)),
        partial(prices.other_models, version, call),
        unread_numbers(flags, event.usage_raw),
        [flag["code"] for flag in flags],
    )


def _as_computed(
    price: CompiledPrices, call: Call, agreements: Sequence[Agreement], computed_usd: Decimal
) -> tuple[Sequence[Agreement], Quote]:
    """Return the computed quote, with the agreements if they applied when the event arrived."""
    quote = quote_at(price, call, agreements)
    if quote.total_usd != computed_usd and agreements:
        without = quote_at(price, call)
        if without.total_usd == computed_usd:
            return (), without
    return agreements, quote


def _side_by_side(computed: Iterable[QuoteLine], reported: Iterable[QuoteLine]) -> list[ComparedLine]:
    of_computed, of_reported = _by_kind(computed), _by_kind(reported)
    kinds = dict.fromkeys((*of_computed, *of_reported))
    return [ComparedLine(kind, of_computed.get(kind), of_reported.get(kind)) for kind in kinds]


def _by_kind(lines: Iterable[QuoteLine]) -> Mapping[str, QuoteLine]:
    """Return a line for each kind; the lines of several requests are added up, at the unit price of the first."""
    groups: dict[str, list[QuoteLine]] = defaultdict(list)
    for line in lines:
        groups[line.kind].append(line)
    return {kind: _sum(group) for kind, group in groups.items()}


def _sum(lines: Sequence[QuoteLine]) -> QuoteLine:
    first = lines[0]
    if len(lines) == 1:
        return first
    return QuoteLine(
        first.kind,
        sum((line.quantity for line in lines), 0),
        first.unit_price_usd,
        sum((line.amount_usd for line in lines), ZERO),
        first.list_unit_price_usd,
        sum((line.list_amount_usd for line in lines), ZERO),
        first.priced_as,
        is_estimate=any(line.is_estimate for line in lines),
    )


class _Prices:
    """The prices that calls were computed at, and the others of the same providers, which may have been applied."""

    def __init__(self, organization: Organization, events: Sequence[UsageEvent]) -> None:
        visible = PriceVersion.objects.visible_to([organization.pk]).in_force()
        used = {event.price_version_id for event in events if event.price_version_id is not None}
        providers = PriceVersion.objects.filter(pk__in=used).values("provider")
        versions: QuerySet[PriceVersion] = visible.filter(Q(pk__in=used) | Q(provider__in=providers)).order_by("pk")
        self.current: PriceBook = price_book(organization.pk)
        self.by_id = {version.pk: version for version in versions}
        self._compiled: dict[tuple[int, str, str, date], CompiledPrices] = {}
        self._of_provider: dict[str, list[PriceVersion]] = defaultdict(list)
        for version in self.by_id.values():
            self._of_provider[version.provider].append(version)

    def other_prices(self, applied: PriceVersion, call: Call) -> Iterable[OtherPrice]:
        """Yield other prices of the same model: without tiers, the one that applies now, and those of other times."""
        if applied.tiers:
            flat = copy(applied)
            flat.tiers = []
            detail = "Charged without the tier of large prompts."
            yield OtherPrice(DifferenceCause.CONTEXT_SIZE, detail, _compile(flat, call))
        current = self.current.find(call.service, call.model, call.occurred_at)
        if current is not None and current.price_version_id != applied.pk:
            detail = "Charged at the price that applies to this call now. Reprice the period."
            yield OtherPrice(DifferenceCause.PRICE_VERSION, detail, current)
        for version in self._of_provider[applied.provider]:
            if version.model == applied.model and version.pk != applied.pk:
                detail = f"Charged at the price since {day_text(version.effective_from.astimezone(UTC))}."
                yield OtherPrice(DifferenceCause.PRICE_VERSION, detail, self.compiled(version, call))

    def other_models(self, applied: PriceVersion, call: Call) -> Iterable[OtherPrice]:
        """Yield the prices of the provider's other models at the time of the call."""
        for version in self._of_provider[applied.provider]:
            if version.model != applied.model and _is_active(version, call):
                detail = f"Charged at the price of {version.model}."
                yield OtherPrice(DifferenceCause.OTHER_MODEL, detail, self.compiled(version, call))

    def compiled(self, version: PriceVersion, call: Call) -> CompiledPrices:
        key = (version.pk, call.service, call.model, _day(call))
        if key not in self._compiled:
            self._compiled[key] = _compile(version, call)
        return self._compiled[key]


def _is_active(version: PriceVersion, call: Call) -> bool:
    ends = version.effective_to
    return version.effective_from <= call.occurred_at and (ends is None or ends > call.occurred_at)


def _compile(version: PriceVersion, call: Call) -> CompiledPrices:
    return compile_price(version, called_model(version, call.service, call.model, _day(call)), _day(call))


def _day(call: Call) -> date:
    return call.occurred_at.astimezone(UTC).date()
