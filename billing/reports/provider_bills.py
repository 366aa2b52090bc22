"""Bills of providers compared with the ledger, by key, model and day (UTC). Read-only.

A key that is assigned to a credential is compared with the calls of that credential. Keys that are not the
organization's have no calls. As soon as one key of a provider is assigned, each key without an assignment is a row of
its own, because it is not known which calls it makes. Until then, all keys are compared together with all calls.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum

from django.db.models import F, Sum
from django.db.models.functions import Coalesce, TruncDate

from billing.models import BillDay, BillImport, BillKey, BillRow, UsageEvent
from billing.pricing.canonical import canonical_model, model_identity
from billing.reports.price_check.selection import CallSelection, require_readable
from billing.types import BillCause, BillReport, EventKind
from costtrack.calendar import Span
from costtrack.clock import DAY
from costtrack.money import ZERO, to_storable
from organizations.models import Organization

FRESHNESS = timedelta(hours=24)
"""How long after the end of a day a provider may still add to its report."""
CONFIRMED_AFTER = timedelta(hours=24)
"""Two equal reports this far apart close a day."""
MAX_DAYS = 92
MAX_KEYS = 500
"""Of the bills of a period that are listed."""
_TOLERANCE = Decimal("1e-6")
_COLUMNS = {
    "input": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_creation": "cache_creation_tokens",
    "output": "output_tokens",
}


@dataclass(slots=True)
class Side:
    """Tokens by kind, and an amount. None: unknown."""

    tokens: dict[str, Decimal] | None = field(default_factory=dict)
    amount_usd: Decimal | None = ZERO
    amounts: dict[str, Decimal] = field(default_factory=dict)
    """The amounts of kinds, as far as the bill has them."""

    @property
    def total_tokens(self) -> Decimal | None:
        return sum(self.tokens.values(), ZERO) if self.tokens is not None else None


@dataclass(frozen=True, slots=True)
class BillDifference:
    """A day, a key and a model. `key` is a Client ID, a key that is not the organization's or is not assigned, or
    empty: all others. The parts add up to the difference; they are empty if it is unknown."""

    provider: str
    day: date
    key: str
    is_foreign: bool
    is_unassigned: bool
    model: str
    bill: Side
    ledger: Side
    requests: int
    unpriced_events: int
    parts: Mapping[BillCause, Decimal]

    @property
    def difference_usd(self) -> Decimal | None:
        """The bill minus the ledger; None if the bill has no costs of this day."""
        if self.bill.amount_usd is None or self.ledger.amount_usd is None:
            return None
        return self.bill.amount_usd - self.ledger.amount_usd

    @property
    def agrees(self) -> bool:
        """Whether amounts and tokens are equal. Providers round amounts, so a millionth is ignored."""
        difference = self.difference_usd
        if difference is not None and abs(difference) > abs(self.bill.amount_usd or ZERO) * _TOLERANCE:
            return False
        return self.bill.tokens is None or all(
            self.bill.tokens.get(kind, ZERO) == (self.ledger.tokens or {}).get(kind, ZERO) for kind in _COLUMNS
        )


@dataclass(frozen=True, slots=True)
class BillDayState:
    """A day that the bill covers. `coverage` is the share of the bill's tokens that the ledger has."""

    provider: str
    day: date
    is_closed: bool
    fetched_at: datetime
    bill_usd: Decimal | None
    ledger_usd: Decimal
    bill_tokens: Decimal | None
    ledger_tokens: Decimal

    @property
    def coverage(self) -> Decimal | None:
        return self.ledger_tokens / self.bill_tokens if self.bill_tokens else None


@dataclass(frozen=True, slots=True)
class BillComparison:
    """`rows` have the largest difference first; the totals are those of rows with a known difference."""

    days: Sequence[BillDayState]
    rows: Sequence[BillDifference]

    @property
    def bill_usd(self) -> Decimal:
        return sum((row.bill.amount_usd or ZERO for row in self._known), ZERO)

    @property
    def ledger_usd(self) -> Decimal:
        return sum((row.ledger.amount_usd or ZERO for row in self._known), ZERO)

    @property
    def difference_usd(self) -> Decimal:
        return self.bill_usd - self.ledger_usd

    @property
    def parts(self) -> Mapping[BillCause, Decimal]:
        return {cause: sum((row.parts.get(cause, ZERO) for row in self.rows), ZERO) for cause in BillCause}

    @property
    def coverage(self) -> Decimal | None:
        bill = sum((day.bill_tokens or ZERO for day in self.days), ZERO)
        return (
            sum((day.ledger_tokens for day in self.days if day.bill_tokens is not None), ZERO) / bill if bill else None
        )

    @property
    def _known(self) -> list[BillDifference]:
        return [row for row in self.rows if row.difference_usd is not None]


def list_imports(organization: Organization, *, before: int | None = None, limit: int) -> list[BillImport]:
    """Return imports, newest first."""
    imports = BillImport.objects.of(organization)
    if before is not None:
        imports = imports.filter(id__lt=before)
    return list(imports.order_by("-id")[:limit])


def list_keys(organization: Organization) -> list[BillKey]:
    return list(BillKey.objects.of(organization).order_by("provider", "key"))


@dataclass(frozen=True, slots=True)
class BillKeyUse:
    """A key of a provider in the bills of a period. `client_id` is empty for a key that is not the organization's, and
    None for one that is not assigned."""

    provider: str
    key: str
    amount_usd: Decimal | None
    client_id: str | None


def list_key_uses(organization: Organization, *, first: date, last: date, provider: str = "") -> list[BillKeyUse]:
    """Return the keys of bills and all assigned ones: those that are not assigned first, the most expensive first."""
    filters = {"provider": provider} if provider else {}
    billed = (
        BillRow.objects.of(organization)
        .filter(day__range=(first, last), **filters)
        .exclude(key="")
        .values("provider", "key")
        .annotate(usd=Sum("amount_usd"))
        .order_by("provider", "key")
    )
    amounts = {(row["provider"], row["key"]): row["usd"] for row in billed[:MAX_KEYS]}
    assigned = {(row.provider, row.key): row for row in list_keys(organization) if provider in ("", row.provider)}
    uses = [
        BillKeyUse(*names, amounts.get(names), assigned[names].client_id if names in assigned else None)
        for names in {**amounts, **dict.fromkeys(assigned)}
    ]
    return sorted(uses, key=lambda use: (use.client_id is not None, -(use.amount_usd or ZERO), use.provider, use.key))


def compare_bills(*, organization: Organization, first: date, last: date, provider: str = "") -> BillComparison:
    """Compare the days that bills cover. Raises InvalidError if there are too many events to read."""
    in_range = {"day__range": (first, last), **({"provider": provider} if provider else {})}
    covered = list(BillDay.objects.of(organization).filter(**in_range))
    if not covered:
        return BillComparison((), ())
    window = Span(_start(min(day.day for day in covered)), _start(max(day.day for day in covered) + DAY))
    require_readable(organization, CallSelection(window))
    keys = {(key.provider, key.key): key.client_id for key in list_keys(organization)}
    reports: dict[tuple[str, date], set[str]] = defaultdict(set)
    fetched: dict[tuple[str, date], list[BillDay]] = defaultdict(list)
    for day in covered:
        reports[day.provider, day.day].add(day.report)
        fetched[day.provider, day.day].append(day)
    bills = _read_bills(organization, in_range, keys, reports)
    ledger = _read_ledger(organization, window, set(keys.items()), set(reports))
    unassigned = {group[:2] for group in bills if group[3] is _Match.UNASSIGNED}
    rows = [
        _difference(
            group,
            bills,
            ledger,
            reports[group[:2]],
            max(day.fetched_at for day in fetched[group[:2]]),
            may_be_unassigned=group[:2] in unassigned and group not in bills,
        )
        for group in sorted(set(bills) | set(ledger))
    ]
    rows.sort(key=lambda row: (-abs(row.difference_usd or ZERO), row.agrees, row.provider, row.day, row.key, row.model))
    return BillComparison([_state(day, fetched[day], rows) for day in sorted(fetched, reverse=True)], rows)


class _Match(StrEnum):
    """How a row's key is compared with calls."""

    CALLS = "calls"
    FOREIGN = "foreign"
    UNASSIGNED = "unassigned"


Group = tuple[str, date, str, _Match, str]
"""Provider, day, key, how it is compared, and model."""


@dataclass(slots=True)
class _Ledger:
    side: Side = field(default_factory=Side)
    requests: int = 0
    unpriced: int = 0


def _read_bills(
    organization: Organization,
    in_range: Mapping[str, object],
    keys: Mapping[tuple[str, str], str],
    reports: Mapping[tuple[str, date], set[str]],
) -> dict[Group, Side]:
    sides: dict[Group, Side] = {}
    with_keys = {provider for provider, _ in keys}
    for row in BillRow.objects.of(organization).filter(**in_range).iterator():
        key, match = "", _Match.CALLS
        if row.key and row.provider in with_keys:
            client_id = keys.get((row.provider, row.key))
            if client_id:
                key = client_id
            else:
                key, match = row.key, _Match.UNASSIGNED if client_id is None else _Match.FOREIGN
        side = sides.setdefault((row.provider, row.day, key, match, _model(row.provider, row.model, row.day)), Side())
        if row.amount_usd is not None:
            side.amount_usd = (side.amount_usd or ZERO) + row.amount_usd
            if row.kind:
                side.amounts[row.kind] = side.amounts.get(row.kind, ZERO) + row.amount_usd
        has_usage = BillReport.USAGE.value in reports[row.provider, row.day]
        if row.quantity is not None and row.kind and (row.report == BillReport.USAGE.value or not has_usage):
            tokens = side.tokens if side.tokens is not None else {}
            tokens[row.kind] = tokens.get(row.kind, ZERO) + row.quantity
    return sides


def _read_ledger(
    organization: Organization,
    window: Span,
    keys: set[tuple[tuple[str, str], str]],
    covered: set[tuple[str, date]],
) -> dict[Group, _Ledger]:
    """Sum the events of the covered days with their adjustments, which have the dimensions of their event."""
    assigned = {(provider, client_id) for (provider, _), client_id in keys if client_id}
    events = (
        UsageEvent.objects.of(organization)
        .filter(
            occurred_at__gte=window.start,
            occurred_at__lt=window.end,
            provider__in={provider for provider, _ in covered},
        )
        .exclude(kind=EventKind.CREDIT.value)
        .annotate(day=TruncDate("occurred_at", tzinfo=UTC))
        .values("provider", "day", "model", client_id=F("credential__client_id"))
        .annotate(
            **{f"sum_{kind}": Sum(column) for kind, column in _COLUMNS.items()},
            sum_usd=Coalesce(Sum("token_cost_usd"), ZERO),
            sum_requests=Sum("requests"),
            sum_unpriced=Sum("unpriced"),
        )
        .order_by()
    )
    sums: dict[Group, _Ledger] = {}
    for row in events:
        if (row["provider"], row["day"]) not in covered:
            continue
        client_id = row["client_id"] or ""
        key = client_id if (row["provider"], client_id) in assigned else ""
        entry = sums.setdefault((row["provider"], row["day"], key, _Match.CALLS, row["model"]), _Ledger())
        for kind in _COLUMNS:
            entry.side.tokens[kind] = entry.side.tokens.get(kind, ZERO) + row[f"sum_{kind}"]  # type: ignore[index,union-attr,literal-required] # the names of columns
        entry.side.amount_usd = (entry.side.amount_usd or ZERO) + row["sum_usd"]
        entry.requests += row["sum_requests"]
        entry.unpriced += row["sum_unpriced"]
    return sums


def _difference(
    group: Group,
    bills: Mapping[Group, Side],
    ledger: Mapping[Group, _Ledger],
    reports: set[str],
    fetched_at: datetime,
    *,
    may_be_unassigned: bool,
) -> BillDifference:
    """`may_be_unassigned`: the bill has the calls of this group, if at all, under keys without an assignment."""
    provider, day, key, match, model = group
    bill, calls = bills.get(group, Side()), ledger.get(group, _Ledger())
    has_usage = BillReport.USAGE.value in reports or bool(bill.tokens)
    bill = Side(
        bill.tokens if has_usage else None,
        bill.amount_usd if BillReport.COSTS.value in reports else None,
        bill.amounts,
    )
    is_fresh = fetched_at < _start(day + DAY) + FRESHNESS
    cause = None
    if match is _Match.FOREIGN:
        cause = BillCause.FOREIGN_KEY
    elif match is _Match.UNASSIGNED or (may_be_unassigned and not key):
        cause = BillCause.UNASSIGNED_KEY
    return BillDifference(
        provider,
        day,
        key,
        match is _Match.FOREIGN,
        match is _Match.UNASSIGNED,
        model,
        bill,
        calls.side,
        calls.requests,
        calls.unpriced,
        split_difference(bill, calls.side, cause_of_key=cause, is_fresh=is_fresh),
    )


def split_difference(
    bill: Side, ledger: Side, *, cause_of_key: BillCause | None, is_fresh: bool
) -> dict[BillCause, Decimal]:
    """Return the causes of a difference, which add up to it. Empty if the bill has no amount.

    If the key is not compared with calls, that is the cause of all of it. Otherwise, tokens that one side does not have
    are missing calls, at the bill's average price of their kind; the rest is the price. While a day is fresh, what the
    bill does not have is not complete yet.
    """
    if bill.amount_usd is None or ledger.amount_usd is None:
        return {}
    difference = bill.amount_usd - ledger.amount_usd
    if cause_of_key is not None:
        return {cause_of_key: difference}
    missing = _missing_usd(bill, ledger, difference)
    if missing is None:
        return {BillCause.UNKNOWN_QUANTITY: difference}
    cause = BillCause.INCOMPLETE if is_fresh and missing < 0 else BillCause.MISSING_CALLS
    return {cause: missing, BillCause.PRICE: difference - missing}


def _missing_usd(bill: Side, ledger: Side, difference: Decimal) -> Decimal | None:
    """Return the cost of the tokens that only one side has; None if that is unknown."""
    tokens, of_ledger = bill.tokens, ledger.tokens or {}
    if not any(of_ledger.values()) and not ledger.amount_usd:
        return difference
    if tokens is None:
        return None
    total = sum(tokens.values(), ZERO)
    if not total:
        return difference if not bill.amount_usd else None
    missing = ZERO
    for kind in _COLUMNS:
        quantity = tokens.get(kind, ZERO)
        difference_of_kind = quantity - of_ledger.get(kind, ZERO)
        if not difference_of_kind:
            continue
        if quantity and kind in bill.amounts:
            missing += difference_of_kind * bill.amounts[kind] / quantity
        else:
            missing += difference_of_kind * (bill.amount_usd or ZERO) / total
    return to_storable(missing)


def _state(key: tuple[str, date], reports: Sequence[BillDay], rows: Sequence[BillDifference]) -> BillDayState:
    provider, day = key
    of_day = [row for row in rows if (row.provider, row.day) == key]
    bills = [row.bill.amount_usd for row in of_day if row.bill.amount_usd is not None]
    known = [row for row in of_day if not row.is_foreign]
    tokens = [row.bill.total_tokens for row in known if row.bill.total_tokens is not None]
    return BillDayState(
        provider,
        day,
        all(is_closed(report) for report in reports),
        max(report.fetched_at for report in reports),
        sum(bills, ZERO) if bills else None,
        sum((row.ledger.amount_usd or ZERO for row in of_day), ZERO),
        sum(tokens, ZERO) if tokens else None,
        sum((row.ledger.total_tokens or ZERO for row in of_day), ZERO),
    )


def is_closed(report: BillDay) -> bool:
    """Whether two reports of a day that were downloaded far enough apart agree."""
    return report.agreed_since is not None and report.fetched_at - report.agreed_since >= CONFIRMED_AFTER


def _model(provider: str, model: str, day: date) -> str:
    """Return the name by which reports know a model of a bill."""
    if not model:
        return ""
    match = canonical_model(provider, model, day)
    return model_identity(match.model if match is not None else model, day)


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
