"""The charges that are booked in a month, by day, for files in the format of FOCUS. Read-only.

A charge is what was used of one kind (input, cache reads, searches) of one model on one day, with four costs: by the
list, by the agreement with the provider (contracted), effective and billed. The costs in the ledger add up to the
statement; what is billed differs from them by what commitments cover, and their fees.

Events and their adjustments are read page by page and added up for each day, so memory depends on the number of
different charges of a day. Corrections of closed months follow one by one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import Exists, OuterRef

from billing.ledger.calls import call_of
from billing.ledger.net_cost import AdjustedEvent, adjustments_of
from billing.models import IngestBatch, LateEvent, PriceVersion, UsageEvent
from billing.models.ledger import UsageEventQuerySet
from billing.pricing.kinds import KINDS
from billing.pricing.price_book import PriceBook, called_model, compile_price, price_book, quote_at
from billing.pricing.quote import Call, CompiledPrices, Quote
from billing.reports.allocation.allocation import RuleResult
from billing.reports.allocation.rules import AllocationBasis
from billing.reports.charges.charge import Charge, ChargeCategory, ChargeFigures, ChargeKey
from billing.reports.charges.fees import FeeCharges, corrected_usage
from billing.reports.charges.shared_cost import SharedCharges, split_rules
from billing.reports.cursors import Position
from billing.reports.statements.booked import check_is_stored
from billing.reports.statements.month_commitments import MonthCommitment, month_commitments
from billing.reports.statements.months import StatementMonth, credential_names, month_of
from billing.types import CostBasis, EventKind
from costtrack.calendar import Span
from costtrack.calendar import Unit as CalendarUnit
from costtrack.ids import first_id_of
from costtrack.money import DECIMALS, ZERO, to_storable
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import statement_timeout
from organizations.models import APICredential, Organization

_PAGE = 2_000


class _Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """A position among the charges: days from `day` on, or corrections after an event; and what the parts before have
    read of covered usage, and of the cost that rules split."""

    day: datetime | None = None
    after: UUID | None = None
    covered: dict[int, Decimal] = msgspec.field(default_factory=dict)
    split: dict[int, Decimal] = msgspec.field(default_factory=dict)


def _add(sums: dict[ChargeKey, ChargeFigures], found: Iterable[tuple[ChargeKey, ChargeFigures]]) -> None:
    for key, figures in found:
        sums[key] = sums[key] + figures if key in sums else figures


class ChargeReader:
    """Reads the charges of a month in parts. Rules of a basis split shared cost (`billing.reports.allocation`)."""

    def __init__(
        self, *, organization: Organization, month: StatementMonth, basis: AllocationBasis, now: datetime
    ) -> None:
        self.organization, self.month, self.basis, self.now = organization, month, basis, now
        self._days: dict[date, Span] = {}
        self._closed_months: dict[date, list[MonthCommitment]] = {}

    def read(self, position: str) -> tuple[list[Charge], str | None]:
        """Return the charges after a position (empty: the first ones), and the next position: those of some days, then
        the fees of commitments, and corrections of closed months by pages. Events without a known cost have no charge.

        Raises ConflictError if events were dropped, InvalidError if rules or commitments need too many events.
        """
        with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(self.organization.pk):
            check_is_stored(self.organization, self.month)
            return self._part(msgspec.json.decode(position, type=_Progress) if position else _Progress())

    def _part(self, progress: _Progress) -> tuple[list[Charge], str | None]:
        fees = FeeCharges(self._commitments, progress.covered)
        shared = SharedCharges(self._rules, self.basis, progress.split)
        if progress.after is not None:
            found, after = self._corrections(progress.after)
            following = _Progress(after=after) if after is not None else None
        else:
            usage, day = self._of_days(progress.day or self.month.span.start)
            following = _Progress(day=day) if day is not None else _Progress(after=UUID(int=0))
            found = [fees.of_usage(charge) for charge in usage]
            found += fees.of_month() if day is None else ()
        charges = [part for charge in found for part in shared.parts(charge)]
        if following is None:
            return charges, None
        following = msgspec.structs.replace(following, covered=fees.covered, split=shared.split)
        return charges, msgspec.json.encode(following).decode()

    @cached_property
    def _prices(self) -> "_Prices":
        return _Prices(price_book(self.organization.pk))

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return self.month.credential_names or credential_names(self.organization)

    @cached_property
    def _client_ids(self) -> dict[int, str]:
        return dict(APICredential.objects.of(self.organization).values_list("pk", "client_id"))

    @cached_property
    def _commitments(self) -> list[MonthCommitment]:
        return month_commitments(self.organization, self.month, self.now)

    @cached_property
    def _rules(self) -> list[RuleResult]:
        return split_rules(self.organization, self.month, self.basis)

    def _of_days(self, start: datetime) -> tuple[list[Charge], datetime | None]:
        """Return the charges of the days from `start` that fit on a page, at least of one, and the next day."""
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
        return self._charges(sums), end if end < self.month.span.end else None

    def _corrections(self, after: UUID) -> tuple[list[Charge], UUID | None]:
        """Return the charges of a page of late events, and the last event if there may be more."""
        late = LateEvent.objects.of(self.organization).filter(booked_month=self.month.month, event_id__gt=after)
        page = list(late.order_by("event_id")[:_PAGE])
        sums: dict[ChargeKey, ChargeFigures] = {}
        _add(sums, self._corrections_of(page))
        charges = [self._of_correction(charge) for charge in self._charges(sums)]
        return charges, page[-1].event_id if len(page) == _PAGE else None

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
        self, adjusted: AdjustedEvent, late: LateEvent | None = None
    ) -> Iterator[tuple[ChargeKey, ChargeFigures]]:
        event = adjusted.attributed
        key = self._key(event, late)
        requests = adjusted.count("requests")
        if adjusted.event.kind == EventKind.CREDIT.value:
            reason = adjusted.event.adjustment_reason
            key = replace(key, category=ChargeCategory.CREDIT, meter="", reason=reason, commitment=0)
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
            event = events[row.event_id]
            if event.kind != EventKind.ADJUSTMENT.value:
                yield from self._of_event(AdjustedEvent(event, ()), row)
                continue
            key = replace(
                self._key(event, row),
                meter="Correction",
                corrects=str(event.adjusts),
                reason=event.adjustment_reason,
            )
            yield from _amount(key, (event.token_cost_usd or ZERO) + event.compute_cost_usd)

    def _day(self, event: UsageEvent) -> Span:
        day = self.month.calendar.date_of(event.occurred_at)
        if day not in self._days:
            self._days[day] = self.month.calendar.period(CalendarUnit.DAY, event.occurred_at)
        return self._days[day]

    def _key(self, event: UsageEvent, late: LateEvent | None = None) -> ChargeKey:
        day = self._day(event)
        provider = event.provider or event.service
        client_id = self._client_ids.get(event.credential_id or 0, "")
        dimensions: dict[str, str | Sequence[str]] = {
            "client_id": client_id,
            "model": event.model,
            "provider": event.provider,
            "service": event.service,
            "capability": event.capability,
            "agent_id": event.agent_id,
            "environment": event.environment,
            "user_id": event.user_ref,
            "team": event.team,
            "end_user": event.end_user,
            "tag": event.tags,
        }
        commitments = self._commitments if late is None else self._commitments_of(late.month)
        covering = (row.id for row in commitments if row.contains(event.occurred_at, dimensions))
        numbered = enumerate(self._rules, 1)
        splitting = (number for number, result in numbered if result.rule.contains(self.basis, dimensions))
        return ChargeKey(
            start=day.start,
            end=day.end,
            category=ChargeCategory.USAGE,
            client_id=client_id,
            provider=provider,
            publisher=event.canonical_provider or provider,
            service=event.service or provider,
            model=event.model,
            region=event.region,
            team=event.team,
            end_user=event.end_user,
            user_id=event.user_ref,
            environment=event.environment,
            capability=event.capability,
            tags=tuple(sorted(set(event.tags))),
            corrected_month=f"{late.month:%Y-%m}" if late is not None else "",
            corrects=str(event.pk) if late is not None else "",
            commitment=next(covering, 0),
            rule=next(splitting, 0),
        )

    def _commitments_of(self, month: date) -> list[MonthCommitment]:
        """Return the commitments of a closed month that late usage is of."""
        if month not in self._closed_months:
            closed = month_of(self.organization, month)
            self._closed_months[month] = month_commitments(self.organization, closed, self.now)
        return self._closed_months[month]

    def _charges(self, sums: dict[ChargeKey, ChargeFigures]) -> list[Charge]:
        return [
            Charge(key, sums[key], sums[key].cost_usd, sums[key].cost_usd, self._names.get(key.client_id, ""))
            for key in sorted(sums)
        ]

    def _of_correction(self, charge: Charge) -> Charge:
        if not charge.key.commitment:
            return charge
        commitments = self._commitments_of(date.fromisoformat(f"{charge.key.corrected_month}-01"))
        return corrected_usage(charge, next(row for row in commitments if row.id == charge.key.commitment))


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
        yield key, ChargeFigures(quantity, amount_usd, int(quantity or 0))


def _of_lines(
    key: ChargeKey, quote: Quote, cost_usd: Decimal, requests: int
) -> Iterator[tuple[ChargeKey, ChargeFigures]]:
    """Yield a charge for each line. The cost that counts is divided in proportion to the contracted costs."""
    lines = [line for line in quote.lines if line.quantity]
    shares = split_exactly(cost_usd, [line.amount_usd for line in lines])
    for position, (line, share_usd) in enumerate(zip(lines, shares, strict=True)):
        figures = ChargeFigures(Decimal(line.quantity), share_usd, requests if position == 0 else 0)
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
