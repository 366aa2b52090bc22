"""The charges that are booked in a month, by day, for files in the format of FOCUS. Read-only.

A charge is what was used of one kind (input, cache reads, searches) of one model on one day, with four costs: by the
list, by the agreement with the provider (contracted), effective and billed. The billed costs add up to the statement.

Events and their adjustments are read page by page and added up for each day, so memory depends on the number of
different charges of a day. Corrections of closed months follow one by one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef

from billing.ledger.calls import call_of
from billing.ledger.net_cost import AdjustedEvent, adjustments_of
from billing.models import IngestBatch, LateEvent, PriceVersion, UsageEvent
from billing.models.ledger import UsageEventQuerySet
from billing.pricing.kinds import KINDS, MILLION, Unit
from billing.pricing.price_book import PriceBook, called_model, compile_price, price_book, quote_at
from billing.pricing.quote import Call, CompiledPrices, Quote
from billing.reports.cursors import Position
from billing.reports.statements.booked import check_is_stored
from billing.reports.statements.months import StatementMonth, credential_names
from billing.types import CostBasis, EventKind
from costtrack.calendar import Span
from costtrack.calendar import Unit as CalendarUnit
from costtrack.clock import iso
from costtrack.ids import first_id_of
from costtrack.money import DECIMALS, ZERO, to_storable
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import statement_timeout
from organizations.models import APICredential, Organization

_PAGE = 2_000
_FRACTION_DIGITS = Decimal("1e-12")
_CORRECTIONS = "corrections-"


class ChargeCategory(StrEnum):
    USAGE = "Usage"
    CREDIT = "Credit"


@dataclass(frozen=True, slots=True, order=True)
class ChargeKey:
    """What charges of a day have in common that are added up. `kind` is one of `KINDS`; empty: an amount without unit
    prices. `corrected_month` is the closed month that a correction is of, and `corrects` the corrected event."""

    start: datetime
    end: datetime
    category: ChargeCategory
    client_id: str
    provider: str
    publisher: str
    service: str
    model: str
    region: str
    kind: str
    meter: str
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


@dataclass(frozen=True, slots=True)
class ChargeFigures:
    """`quantity` is in the kind's unit; None for corrections and credits, which are amounts only. `requests` are model
    calls, counted with their first kind."""

    quantity: Decimal | None
    effective_usd: Decimal
    billed_usd: Decimal
    requests: int = 0

    def __add__(self, other: "ChargeFigures") -> "ChargeFigures":
        quantities = [figures.quantity for figures in (self, other) if figures.quantity is not None]
        return ChargeFigures(
            sum(quantities, ZERO) if quantities else None,
            self.effective_usd + other.effective_usd,
            self.billed_usd + other.billed_usd,
            self.requests + other.requests,
        )


@dataclass(frozen=True, slots=True)
class Allocation:
    """How a charge was split: `ratio` of the original charge (0 to 1) went to `resource_id`. `method_id` names the
    method, `elements` is what decided on the ratio, as JSON objects of FOCUS."""

    method_id: str
    ratio: Decimal
    resource_id: str = ""
    resource_name: str = ""
    tags: tuple[str, ...] = ()
    elements: tuple[dict[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Charge:
    key: ChargeKey
    figures: ChargeFigures
    credential_name: str = ""
    allocation: Allocation | None = None

    @property
    def pricing_quantity(self) -> Decimal | None:
        """The quantity in the unit of the unit prices, exactly where that is a finite decimal. An amount without unit
        prices is that many dollars."""
        if self.key.kind:
            return None if self.figures.quantity is None else _priced(self.key.kind, self.figures.quantity)
        return None if self.figures.quantity is None else self.figures.billed_usd

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
        return self.figures.billed_usd if quantity is None or not self.key.kind else unit_price_usd * quantity


def allocations(charge: Charge) -> Iterable[Charge]:
    """Yield the charges that a charge is split into, with their `allocation`; their costs and quantities add up to it.
    Without rules of allocation it is the charge itself."""
    yield charge


def read_charges(
    *, organization: Organization, month: StatementMonth, position: str
) -> tuple[list[Charge], str | None]:
    """Return the charges after a position (empty: the first ones), and the next position: those of some days, and
    then corrections of closed months by pages. Events without a known cost have no charge. Raises ConflictError if
    events were dropped."""
    with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
        check_is_stored(organization, month)
        reader = _Charges(organization, month)
        after = position.removeprefix(_CORRECTIONS)
        if after != position:
            found, next_position = reader.corrections(UUID(after))
        else:
            start = datetime.fromisoformat(position) if position else month.span.start
            found, next_position = reader.days(start)
    return [part for charge in found for part in allocations(charge)], next_position


def _add(sums: dict[ChargeKey, ChargeFigures], found: Iterable[tuple[ChargeKey, ChargeFigures]]) -> None:
    for key, figures in found:
        sums[key] = sums[key] + figures if key in sums else figures


class _Charges:
    """Reads the events of a month and computes their charges."""

    def __init__(self, organization: Organization, month: StatementMonth) -> None:
        self.organization, self.month = organization, month
        self._prices = _Prices(price_book(organization.pk))
        self._names = month.credential_names or credential_names(organization)
        self._days: dict[date, Span] = {}
        self._client_ids = dict(APICredential.objects.of(organization).values_list("pk", "client_id"))

    def days(self, start: datetime) -> tuple[list[Charge], str | None]:
        """Return the charges of the days from `start` that fit on a page, at least of one, and the next position."""
        end = self.month.span.end
        events = self._page(Span(start, end), None)
        sums: dict[ChargeKey, ChargeFigures] = {}
        if len(events) == _PAGE:
            last_day = self._day(events[-1])
            end = last_day.start if last_day.start > start else last_day.end
        _add(sums, self._charges_of([event for event in events if event.occurred_at < end]))
        while len(events) == _PAGE and events[-1].occurred_at < end:
            events = self._page(Span(start, end), Position(events[-1].occurred_at, events[-1].pk))
            _add(sums, self._charges_of(events))
        is_last = end >= self.month.span.end
        return self._charges(sums), f"{_CORRECTIONS}{UUID(int=0)}" if is_last else iso(end)

    def corrections(self, after: UUID) -> tuple[list[Charge], str | None]:
        """Return the charges of a page of late events, and the next position."""
        late = LateEvent.objects.of(self.organization).filter(booked_month=self.month.month, event_id__gt=after)
        page = list(late.order_by("event_id")[:_PAGE])
        sums: dict[ChargeKey, ChargeFigures] = {}
        _add(sums, self._corrections_of(page))
        return self._charges(sums), f"{_CORRECTIONS}{page[-1].event_id}" if len(page) == _PAGE else None

    def _page(self, span: Span, after: Position | None) -> list[UsageEvent]:
        start, end = span
        events = UsageEvent.objects.of(self.organization).exclude(kind=EventKind.ADJUSTMENT.value)
        events = self._booked(events.filter(id__gte=first_id_of(start), occurred_at__gte=start, occurred_at__lt=end))
        if after is not None:
            events = events.after(after.at, after.id)
        return list(events.order_by("occurred_at", "id")[:_PAGE])

    def _booked(self, events: UsageEventQuerySet) -> UsageEventQuerySet:
        """Leave out late events; unfolded ones of a closed month are late."""
        late = LateEvent.objects.filter(organization=self.organization, event_id=OuterRef("pk"))
        unfolded = IngestBatch.objects.filter(
            organization=self.organization, folded_at=None, id__lt=OuterRef("pk"), last_event_id__gte=OuterRef("pk")
        )
        events = events.filter(~Exists(late))
        return events.filter(~Exists(unfolded)) if self.month.is_closed else events

    def _charges_of(self, events: Sequence[UsageEvent]) -> Iterator[tuple[ChargeKey, ChargeFigures]]:
        adjustments = adjustments_of(events)
        ids = [row.pk for rows in adjustments.values() for row in rows]
        booked: set[UUID] = set()
        if ids:
            found = UsageEvent.objects.of(self.organization).filter(pk__in=ids)
            booked = set(self._booked(found).values_list("pk", flat=True))
        self._prices.load([*events, *(row for rows in adjustments.values() for row in rows)])
        for event in events:
            own = tuple(row for row in adjustments.get(event.pk, ()) if row.pk in booked)
            yield from self._of_event(AdjustedEvent(event, own))

    def _of_event(
        self, adjusted: AdjustedEvent, *, corrected_month: str = "", corrects: str = ""
    ) -> Iterator[tuple[ChargeKey, ChargeFigures]]:
        event = adjusted.attributed
        key = replace(self._key(event), corrected_month=corrected_month, corrects=corrects)
        requests = adjusted.count("requests")
        if adjusted.event.kind == EventKind.CREDIT.value:
            key = replace(key, category=ChargeCategory.CREDIT, meter="", reason=adjusted.event.adjustment_reason)
            yield from _amount(key, adjusted.known_cost_usd)
            return
        compute_usd = adjusted.amount("compute_cost_usd")
        if compute_usd:
            meter = "Tool calls" if event.kind == EventKind.TOOL_CALL.value else "Compute"
            yield from _amount(replace(key, meter=meter), compute_usd, quantity=Decimal(1))
        if not adjusted.is_priced:
            return
        token_usd = adjusted.amount("token_cost_usd")
        quote = None if adjusted.is_voided else self._prices.quote(adjusted)
        if quote is None or not quote.lines:
            yield from _amount(replace(key, meter="Model usage"), token_usd, quantity=Decimal(max(requests, 1)))
            return
        yield from _of_lines(key, quote, token_usd, requests)

    def _corrections_of(self, late: Sequence[LateEvent]) -> Iterator[tuple[ChargeKey, ChargeFigures]]:
        """Yield the charges of late events one by one: each names its month, and an adjustment its event."""
        ids = [row.event_id for row in late]
        found = UsageEvent.objects.of(self.organization).filter(pk__in=ids)
        events = {event.pk: event for event in found}
        self._prices.load(list(events.values()))
        for row in late:
            event, month = events[row.event_id], f"{row.month:%Y-%m}"
            if event.kind != EventKind.ADJUSTMENT.value:
                own = AdjustedEvent(event, ())
                yield from self._of_event(own, corrected_month=month, corrects=str(event.pk))
                continue
            key = replace(
                self._key(event),
                meter="Correction",
                corrected_month=month,
                corrects=str(event.adjusts),
                reason=event.adjustment_reason,
            )
            yield from _amount(key, (event.token_cost_usd or ZERO) + event.compute_cost_usd)

    def _day(self, event: UsageEvent) -> Span:
        day = self.month.calendar.date_of(event.occurred_at)
        if day not in self._days:
            self._days[day] = self.month.calendar.period(CalendarUnit.DAY, event.occurred_at)
        return self._days[day]

    def _key(self, event: UsageEvent) -> ChargeKey:
        day = self._day(event)
        provider = event.provider or event.service
        return ChargeKey(
            start=day.start,
            end=day.end,
            category=ChargeCategory.USAGE,
            client_id=self._client_ids.get(event.credential_id or 0, ""),
            provider=provider,
            publisher=event.canonical_provider or provider,
            service=event.service or provider,
            model=event.model,
            region=event.region,
            kind="",
            meter="",
            team=event.team,
            end_user=event.end_user,
            user_id=event.user_ref,
            environment=event.environment,
            capability=event.capability,
            tags=tuple(sorted(set(event.tags))),
        )

    def _charges(self, sums: dict[ChargeKey, ChargeFigures]) -> list[Charge]:
        return [Charge(key, sums[key], self._names.get(key.client_id, "")) for key in sorted(sums)]


class _Prices:
    """The price versions at which calls were priced."""

    def __init__(self, current: PriceBook) -> None:
        self._current = current
        self._versions: dict[int, PriceVersion] = {}
        self._compiled: dict[tuple[int, str, str, date], CompiledPrices] = {}

    def load(self, rows: Iterable[UsageEvent]) -> None:
        missing = {row.price_version_id for row in rows if row.price_version_id} - self._versions.keys()
        self._versions |= PriceVersion.objects.in_bulk(missing) if missing else {}

    def quote(self, adjusted: AdjustedEvent) -> Quote | None:
        """Return the lines of a call at the price version that it was priced at, with the agreement if that makes the
        computed cost; None if there is no such version."""
        rows = (adjusted.event, *adjusted.adjustments)
        version_id = next((row.price_version_id for row in reversed(rows) if row.price_version_id), 0)
        version = self._versions.get(version_id)
        if version is None:
            return None
        call = call_of(adjusted.event, adjusted.adjustments)
        price = self._price(version, call)
        quote = quote_at(price, call, self._current.agreements)
        computed_usd = _computed_usd(adjusted)
        if self._current.agreements and quote.total_usd != computed_usd:
            without = quote_at(price, call)
            if without.total_usd == computed_usd:
                return without
        return quote

    def _price(self, version: PriceVersion, call: Call) -> CompiledPrices:
        day = call.occurred_at.astimezone(UTC).date()
        key = (version.pk, call.service, call.model, day)
        if key not in self._compiled:
            self._compiled[key] = compile_price(version, called_model(version, call.service, call.model, day), day)
        return self._compiled[key]


def _computed_usd(adjusted: AdjustedEvent) -> Decimal | None:
    event = adjusted.event
    if event.cost_basis == CostBasis.COMPUTED.value or event.computed_cost_usd is None:
        return adjusted.amount("token_cost_usd")
    return event.computed_cost_usd


def _amount(
    key: ChargeKey, amount_usd: Decimal, *, quantity: Decimal | None = None
) -> Iterator[tuple[ChargeKey, ChargeFigures]]:
    """Yield an amount without unit prices: all four costs are the same."""
    if amount_usd:
        yield key, ChargeFigures(quantity, amount_usd, amount_usd, int(quantity or 0))


def _of_lines(
    key: ChargeKey, quote: Quote, billed_usd: Decimal, requests: int
) -> Iterator[tuple[ChargeKey, ChargeFigures]]:
    """Yield a charge for each line. The billed cost is divided in proportion to the contracted costs."""
    lines = [line for line in quote.lines if line.quantity]
    shares = split_exactly(billed_usd, [line.amount_usd for line in lines])
    for position, (line, share_usd) in enumerate(zip(lines, shares, strict=True)):
        figures = ChargeFigures(Decimal(line.quantity), share_usd, share_usd, requests if position == 0 else 0)
        yield (
            replace(
                key,
                kind=line.kind,
                meter=KINDS[line.kind].label.capitalize(),
                priced_as=line.priced_as,
                price_version_id=quote.price_version_id or 0,
                list_unit_price_usd=line.list_unit_price_usd,
                contracted_unit_price_usd=line.unit_price_usd,
            ),
            figures,
        )


def _priced(kind: str, quantity: Decimal) -> Decimal:
    per = KINDS[kind].per
    if per in (1, 1000, MILLION) and KINDS[kind].unit not in (Unit.SECONDS, Unit.STORAGE):
        return quantity / per
    return (quantity / per).quantize(_FRACTION_DIGITS)


def split_exactly(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Split an amount in proportion to weights, exactly: what remains of the ledger's smallest amounts goes to the
    largest remainders. Without weights all of it goes to the first."""
    if list(weights) and sum(weights, ZERO) == amount:
        return list(weights)
    units, total = int(Fraction(amount) * 10**DECIMALS), sum(map(Fraction, weights), Fraction())
    if total <= 0:
        return [amount, *[ZERO] * (len(weights) - 1)]
    exact = [units * Fraction(weight) / total for weight in weights]
    shares = [share.numerator // share.denominator for share in exact]
    order = sorted(range(len(weights)), key=lambda index: (shares[index] - exact[index], index))
    for index in order[: units - sum(shares)]:
        shares[index] += 1
    return [to_storable(Decimal(share).scaleb(-DECIMALS)) for share in shares]
