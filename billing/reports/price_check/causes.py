"""The likely cause of a difference between the reported and the computed cost of a call. Pure.

The call is priced again under each hypothesis: cached tokens charged as uncached ones, another service tier, the price
before the last change, and so on. The first one whose cost is the reported one is named, with the lines that add up to
it. If none is, pairs of a reading and a price are tried, then a surcharge or a discount.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from billing.pricing.agreements import Agreement
from billing.pricing.conditions import STANDARD
from billing.pricing.kinds import CACHE_KINDS, KINDS, TOKEN_KINDS, Quantities, Quantity
from billing.pricing.price_book import quote_at
from billing.pricing.quote import Call, CompiledPrices, Quote, QuoteLine
from billing.types import DifferenceCause
from costtrack.money import ZERO, to_storable

_PERCENT = 100
# Bills are rounded: to a millionth of a dollar, or to a few digits.
_ROUNDING_USD = Decimal("0.0000006")
_TOLERANCE = Decimal("0.001")
_EXACTLY = Decimal("0.000001")
# A surcharge or discount in percent is a multiple of this.
_STEP = Decimal("0.5")
_STEP_TOLERANCE = Decimal("0.005")
_MAX_PERCENT = 60
_MAX_FEES = 20
_UNITS = ((Decimal(100), "cents"), (Decimal(1000), "thousandths of a dollar"), (Decimal(10) ** 6, "millionths"))

_READS = (
    ("cache_read", "input"),
    ("audio_cache_read", "audio_input"),
    ("image_cache_read", "image_input"),
    ("video_cache_read", "video_input"),
)
_WRITES = tuple((kind, "input") for kind in sorted(CACHE_KINDS) if kind.startswith("cache_creation"))
_AS_TEXT = (
    ("audio_input", "input"),
    ("image_input", "input"),
    ("video_input", "input"),
    ("audio_output", "output"),
    ("image_output", "output"),
)
_TIERS = (STANDARD, "batch", "flex", "priority")
_REGIONS = ("", "us", "eu", "apac", "us-gov")


@dataclass(frozen=True, slots=True)
class Cause:
    """The likely cause, what exactly it is, and the lines that add up to the reported cost (none if it is unknown)."""

    code: DifferenceCause
    detail: str = ""
    lines: Sequence[QuoteLine] = ()


@dataclass(frozen=True, slots=True)
class OtherPrice:
    """A price that may have been applied instead: of another time, model or prompt size."""

    code: DifferenceCause
    detail: str
    price: CompiledPrices


@dataclass(frozen=True, slots=True)
class ComparedCall:
    """A call with two known costs, the price that it was computed at, and what else may have been applied.

    `quote` is the computed cost. `other_models` are tried only if nothing else explains the difference. `unread` has
    the numbers of its usage that were not read, by their keys; `flags` are the codes of its flags.
    """

    call: Call
    price: CompiledPrices
    quote: Quote
    reported_usd: Decimal
    agreements: Sequence[Agreement] = ()
    other_prices: Sequence[OtherPrice] = ()
    other_models: Callable[[], Iterable[OtherPrice]] = field(default=lambda: ())
    unread: Mapping[str, Quantity] = field(default_factory=dict)
    flags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Reading:
    """Another reading of the call's quantities."""

    code: DifferenceCause
    detail: str
    requests: tuple[Quantities, ...]


@dataclass(frozen=True, slots=True)
class _Terms:
    """Another price, or other conditions, of the call."""

    code: DifferenceCause
    detail: str
    price: CompiledPrices
    attributes: Mapping[str, str]
    agreements: Sequence[Agreement]


def likely_cause(compared: ComparedCall) -> Cause:
    """Return the cause that explains the difference, the most specific first."""
    if not compared.reported_usd:
        return Cause(DifferenceCause.ZERO, "The call is reported as free.")
    readings, terms = list(_readings(compared.call)), list(_terms(compared))
    cached = _all_cached(compared.call)
    single = [
        *((reading.code, reading.detail, _quote(compared, reading=reading)) for reading in readings),
        *((other.code, other.detail, _quote(compared, terms=other)) for other in terms),
        # Last, because a cached prompt costs what a batch does at some providers.
        (cached.code, cached.detail, _quote(compared, reading=cached)),
    ]
    return (
        _best(compared, single)
        or _fees(compared)
        or _unread(compared)
        or _unit(compared)
        or _pair(compared, readings, terms)
        or _other_model(compared)
        or _percentage(compared)
        or _unexplained(compared)
    )


# --- Other readings of the quantities --------------------------------------------------------------------------


def _readings(call: Call) -> Iterator[_Reading]:
    cache, reasoning = DifferenceCause.CACHE, DifferenceCause.REASONING
    reads, writes = dict(_READS), dict(_WRITES)
    all_caches = {**reads, **writes}
    changes: tuple[tuple[DifferenceCause, str, Callable[[Quantities], Quantities]], ...] = (
        (cache, "Cache reads are charged as uncached input.", lambda given: _moved(given, reads)),
        (cache, "Cache writes are charged as uncached input.", lambda given: _moved(given, writes)),
        (cache, "Cache reads and writes are charged as uncached input.", lambda given: _moved(given, all_caches)),
        (
            cache,
            "Cache reads are charged a second time, as uncached input.",
            lambda given: _plus(given, "input", _amount(given, reads)),
        ),
        (
            cache,
            "Cache reads are part of the uncached input that was sent, and counted twice here.",
            lambda given: _plus(given, "input", -_amount(given, reads)),
        ),
        (
            cache,
            "Cache reads and writes are charged a second time, as uncached input.",
            lambda given: _plus(given, "input", _amount(given, all_caches)),
        ),
        (
            cache,
            "Cache reads and writes are part of the uncached input that was sent, and counted twice here.",
            lambda given: _plus(given, "input", -_amount(given, all_caches)),
        ),
        (
            cache,
            "1-hour cache writes are charged as 5-minute ones.",
            lambda given: _moved(given, {"cache_creation_1h": "cache_creation"}),
        ),
        (
            cache,
            "5-minute cache writes are charged as 1-hour ones.",
            lambda given: _moved(given, {"cache_creation": "cache_creation_1h"}),
        ),
        (cache, "Cache reads are not charged.", lambda given: _without(given, reads)),
        (cache, "Cache writes are not charged.", lambda given: _without(given, writes)),
        (cache, "Cache reads and writes are not charged.", lambda given: _without(given, all_caches)),
        (
            reasoning,
            "Reasoning is charged twice: it is part of the output already.",
            lambda given: _plus(given, "output", given.get("reasoning", 0)),
        ),
        (reasoning, "Reasoning is not charged beside the output.", lambda given: _without(given, ("reasoning",))),
        (
            DifferenceCause.MODALITY,
            "Audio and images are charged as text.",
            lambda given: _moved(given, dict(_AS_TEXT)),
        ),
    )
    for code, detail, change in changes:
        requests = tuple(change(given) for given in call.requests)
        if requests != call.requests:
            yield _Reading(code, detail, requests)
    yield from _without_fees(call)


def _all_cached(call: Call) -> _Reading:
    requests = tuple(_moved(given, {"input": "cache_read"}) for given in call.requests)
    return _Reading(DifferenceCause.CACHE, "Uncached input is charged as cache reads.", requests)


def _without_fees(call: Call) -> Iterator[_Reading]:
    """Yield each fee that is not charged, and all of them together."""
    fees = sorted({kind for request in call.requests for kind, number in request.items() if number} - TOKEN_KINDS)
    groups = [(kind,) for kind in fees] + ([tuple(fees)] if len(fees) > 1 else [])
    for kinds in groups:
        names = " and ".join(KINDS[kind].label for kind in kinds)
        requests = tuple(_without(given, kinds) for given in call.requests)
        yield _Reading(DifferenceCause.FEES, f"The fees of {names} are not included.", requests)


def _moved(given: Quantities, targets: Mapping[str, str]) -> Quantities:
    """Return the quantities with each kind counted as another one."""
    moved = dict(given)
    for kind, target in targets.items():
        number = moved.pop(kind, 0)
        if number:
            moved[target] = moved.get(target, 0) + number
    return moved


def _without(given: Quantities, kinds: Iterable[str]) -> Quantities:
    left_out = set(kinds)
    return {kind: number for kind, number in given.items() if kind not in left_out}


def _plus(given: Quantities, kind: str, number: Quantity) -> Quantities:
    """Return the quantities with more of a kind; unchanged if the result would be negative."""
    total = given.get(kind, 0) + number
    return {**given, kind: total} if number and total >= 0 else given


def _amount(given: Quantities, kinds: Iterable[str]) -> Quantity:
    return sum((given.get(kind, 0) for kind in kinds), 0)


# --- Other prices and conditions -------------------------------------------------------------------------------


def _terms(compared: ComparedCall) -> Iterator[_Terms]:
    call, price, agreements = compared.call, compared.price, compared.agreements
    if agreements and compared.quote.list_total_usd != compared.quote.total_usd:
        detail = "The list's prices are charged, without the agreement."
        yield _Terms(DifferenceCause.AGREEMENT, detail, price, call.attributes, ())
    for code, name, values in (
        (DifferenceCause.SERVICE_TIER, "service_tier", _TIERS),
        (DifferenceCause.SPEED, "speed", (STANDARD, "fast")),
        (DifferenceCause.REGION, "region", _REGIONS),
    ):
        for value in values:
            if value != call.attributes.get(name, "" if name == "region" else STANDARD):
                attributes = {**call.attributes, name: value}
                detail = (
                    f"Charged for the {name.replace('_', ' ')} {value}." if value else "Charged without the region."
                )
                yield _Terms(code, detail, price, attributes, agreements)
    for other in compared.other_prices:
        yield _Terms(other.code, other.detail, other.price, call.attributes, agreements)


def _quote(compared: ComparedCall, *, reading: _Reading | None = None, terms: _Terms | None = None) -> Quote:
    call = compared.call
    price, agreements = compared.price, compared.agreements
    if reading is not None:
        call = replace(call, requests=reading.requests)
    if terms is not None:
        call, price, agreements = replace(call, attributes=terms.attributes), terms.price, terms.agreements
    return quote_at(price, call, agreements)


# --- Choosing the hypothesis -----------------------------------------------------------------------------------


def _best(compared: ComparedCall, tried: Iterable[tuple[DifferenceCause, str, Quote]]) -> Cause | None:
    """Return the first hypothesis that gives the reported cost exactly, else the first that is close."""
    nearly = None
    for code, detail, quote in tried:
        if quote.total_usd is None or quote.total_usd == compared.quote.total_usd:
            continue
        error = abs(quote.total_usd - compared.reported_usd)
        cause = Cause(code, detail, quote.lines)
        if error <= compared.reported_usd * _EXACTLY:
            return cause
        if nearly is None and error <= max(compared.reported_usd * _TOLERANCE, _ROUNDING_USD):
            nearly = cause if error < abs(_difference(compared)) / 10 else None
    return nearly


def _difference(compared: ComparedCall) -> Decimal:
    return compared.reported_usd - (compared.quote.total_usd or ZERO)


def _pair(compared: ComparedCall, readings: Sequence[_Reading], terms: Sequence[_Terms]) -> Cause | None:
    """Return the first pair of a reading and a price that gives exactly the reported cost."""
    for reading in readings:
        for other in terms:
            quote = _quote(compared, reading=reading, terms=other)
            if quote.total_usd is None:
                continue
            if abs(quote.total_usd - compared.reported_usd) <= compared.reported_usd * _EXACTLY:
                return Cause(reading.code, f"{reading.detail} {other.detail}", quote.lines)
    return None


def _other_model(compared: ComparedCall) -> Cause | None:
    tried = (
        (other.code, other.detail, quote_at(other.price, compared.call, compared.agreements))
        for other in compared.other_models()
    )
    return _best(compared, tried)


def _fees(compared: ComparedCall) -> Cause | None:
    """Return the fee whose multiple is the difference, if the reported cost is higher."""
    difference = _difference(compared)
    for kind, unit_price in compared.price.unit_prices.items():
        if kind in TOKEN_KINDS or not unit_price or difference <= 0:
            continue
        each = unit_price / KINDS[kind].per
        number = int((difference / each).to_integral_value())
        if not 0 < number <= _MAX_FEES or abs(number * each - difference) > max(difference * _TOLERANCE, ZERO):
            continue
        detail = f"The fees of {number} {KINDS[kind].label} are included, which the usage does not name."
        return Cause(DifferenceCause.FEES, detail, (*compared.quote.lines, _line(kind, number, unit_price)))
    return None


def _unread(compared: ComparedCall) -> Cause | None:
    """Return the number that was not read and whose charge is the difference."""
    difference = _difference(compared)
    for key, number in compared.unread.items():
        for kind, unit_price in compared.price.unit_prices.items():
            charge = number * unit_price / KINDS[kind].per
            if charge and abs(charge - difference) <= max(abs(difference) * _TOLERANCE, _ROUNDING_USD):
                detail = f"{key} was not read; charged as {KINDS[kind].label} it explains the difference."
                return Cause(
                    DifferenceCause.UNREAD_USAGE, detail, (*compared.quote.lines, _line(kind, number, unit_price))
                )
    return None


def _unit(compared: ComparedCall) -> Cause | None:
    computed = compared.quote.total_usd or ZERO
    for factor, name in _UNITS:
        for scaled, direction in ((computed * factor, f"in {name}"), (computed / factor, f"divided by {factor}")):
            if computed and abs(scaled - compared.reported_usd) <= compared.reported_usd * _TOLERANCE:
                return Cause(DifferenceCause.UNIT, f"The reported cost seems to be {direction} instead of dollars.")
    return None


def _percentage(compared: ComparedCall) -> Cause | None:
    """Return a surcharge or discount of a round percentage on the list's or the computed cost."""
    for total, name in ((compared.quote.total_usd, "computed cost"), (compared.quote.list_total_usd, "list's price")):
        if not total:
            continue
        percent = (compared.reported_usd / total - 1) * _PERCENT
        rounded = (percent / _STEP).to_integral_value() * _STEP
        if not rounded or abs(rounded) > _MAX_PERCENT or abs(percent - rounded) > _STEP_TOLERANCE:
            continue
        factor = 1 + rounded / _PERCENT
        lines = tuple(
            replace(
                line,
                unit_price_usd=to_storable(line.unit_price_usd * factor),
                amount_usd=to_storable(line.amount_usd * factor),
            )
            for line in compared.quote.lines
        )
        code = DifferenceCause.MARKUP if rounded > 0 else DifferenceCause.DISCOUNT
        noun = "above" if rounded > 0 else "below"
        return Cause(code, f"{abs(rounded.normalize()):f}% {noun} the {name}.", lines)
    return None


def _unexplained(compared: ComparedCall) -> Cause:
    if compared.flags:
        codes = ", ".join(dict.fromkeys(code.replace("_", " ") for code in compared.flags))
        return Cause(DifferenceCause.FLAGGED, f"The event is flagged: {codes}.")
    return Cause(DifferenceCause.UNKNOWN, "Compare the lines with the provider's invoice.")


def _line(kind: str, number: Quantity, unit_price: Decimal) -> QuoteLine:
    amount = to_storable(number * unit_price / KINDS[kind].per)
    return QuoteLine(kind, number, unit_price, amount, unit_price, amount)


def unread_numbers(flags: Iterable[Mapping[str, str]], raw: Any) -> dict[str, Quantity]:
    """Return the numbers of a usage object that the flags name as unread, by their keys."""
    numbers: dict[str, Quantity] = {}
    for flag in flags:
        value: Any = raw
        for name in flag.get("detail", "").split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if flag["code"] == "unread_usage" and isinstance(value, int) and not isinstance(value, bool) and value:
            numbers[flag["detail"]] = value
    return numbers
