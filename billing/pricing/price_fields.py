"""The fields of a price: their validation, and their conversion to and from rows of `PriceVersion`.

Errors name the field as the API does.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from billing.models import PriceVersion
from billing.pricing.conditions import Rates
from billing.pricing.kind_prices import SOURCE as CATALOGUE_SOURCE
from billing.pricing.kind_prices import KindPrices
from billing.pricing.kind_prices_json import conditions_as_json, conditions_from_json, prices_as_json, prices_from_json
from billing.pricing.kinds import KINDS, PRICE_COLUMNS
from billing.types import PriceSource
from costtrack.errors import field_error
from costtrack.money import plain

_DECIMALS = 12
_TOO_LARGE = Decimal(10) ** 12
_MAX_ALIASES = 100
_MAX_TIERS = 20
_MAX_TOKENS = 2**53
_MAX_PROVIDER_LENGTH = 64
_MAX_NAME_LENGTH = 255
OTHER_UNIT_PRICES = "other_unit_prices"
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)


def check_names(provider: str, model: str, aliases: Sequence[str], *, param: str = "model") -> None:
    """Raise InvalidError for invalid names. An empty provider means any provider. `param` is the field of `model`."""
    if not model:
        raise field_error(param, "A name is required.")
    if len(aliases) > _MAX_ALIASES:
        raise field_error("aliases", f"At most {_MAX_ALIASES} are allowed.")
    if not all(aliases):
        raise field_error("aliases", "A name must not be empty.")
    for field, names in (("provider", [provider]), (param, [model]), ("aliases", aliases)):
        for name in names:
            longest = _MAX_PROVIDER_LENGTH if field == "provider" else _MAX_NAME_LENGTH
            if len(name) > longest:
                raise field_error(field, f"At most {longest} characters are allowed.")
            if not name.isprintable():
                raise field_error(field, "Control characters are not allowed.")


def check_rates(rates: Rates) -> None:
    """Raise InvalidError for unit prices that are empty or do not fit the columns."""
    if not rates.unit_prices:
        raise field_error(PRICE_COLUMNS["input"], "At least one unit price is required.")
    for kind, price in rates.unit_prices.items():
        check_amount(price, _field_of(kind))
    if len(rates.tiers) > _MAX_TIERS:
        raise field_error("tiers", f"At most {_MAX_TIERS} are allowed.")
    before = 0
    for index, (above, unit_prices) in enumerate(rates.tiers):
        path = f"tiers.{index}"
        if not before < above <= _MAX_TOKENS:
            reason = f"Must be a whole number above {before}; tiers must be in ascending order."
            raise field_error(f"{path}.above_input_tokens", reason)
        if not unit_prices:
            raise field_error(path, "At least one unit price is required.")
        for kind, price in unit_prices.items():
            check_amount(price, f"{path}.{_field_of(kind)}")
        before = above


def _field_of(kind: str) -> str:
    return PRICE_COLUMNS.get(kind, f"{OTHER_UNIT_PRICES}.{kind}")


def check_period(effective_from: datetime, effective_to: datetime | None) -> None:
    if effective_to is not None and effective_to <= effective_from:
        raise field_error("effective_to", "Must be later than effective_from.")


def parse_tiers(raw: object) -> tuple[tuple[int, dict[str, Decimal]], ...]:
    """Parse `[{"above_input_tokens": 200000, "input_usd_per_million": "6.00"}]`; see `PriceVersion.tiers`.

    Raises InvalidError with the path of the field.
    """
    if not isinstance(raw, list):
        raise field_error("tiers", "Must be a list.")
    return tuple(_parse_tier(entry, f"tiers.{index}") for index, entry in enumerate(raw))


def parse_other_unit_prices(raw: object, path: str = OTHER_UNIT_PRICES) -> dict[str, Decimal]:
    """Parse `{"image_input": "10.00"}`: the unit prices of kinds without a column. Raises InvalidError."""
    if not isinstance(raw, Mapping):
        raise field_error(path, "Must be an object.")
    unknown = sorted(str(kind) for kind in raw if kind not in KINDS or kind in PRICE_COLUMNS)
    if unknown:
        raise field_error(f"{path}.{unknown[0]}", "Not a kind of usage with its price here.", code="unknown_field")
    return {kind: _parse_amount(value, f"{path}.{kind}") for kind, value in raw.items() if value is not None}


def parse_unit_prices(raw: object, path: str) -> dict[str, Decimal]:
    """Parse `{"input": "2.00"}`: unit prices of any kinds. Raises InvalidError."""
    if not isinstance(raw, Mapping):
        raise field_error(path, "Must be an object.")
    return {str(kind): _parse_amount(value, f"{path}.{kind}") for kind, value in raw.items()}


def _parse_tier(raw: object, path: str) -> tuple[int, dict[str, Decimal]]:
    if not isinstance(raw, Mapping):
        raise field_error(path, "Must be an object.")
    known = ("above_input_tokens", OTHER_UNIT_PRICES, *PRICE_COLUMNS.values())
    unknown = sorted(str(name) for name in raw if name not in known)
    if unknown:
        raise field_error(f"{path}.{unknown[0]}", "Unknown field.", code="unknown_field")
    above = raw.get("above_input_tokens")
    if not isinstance(above, int) or isinstance(above, bool):
        raise field_error(f"{path}.above_input_tokens", "Must be a whole number of tokens.")
    prices = {
        kind: _parse_amount(raw[column], f"{path}.{column}")
        for kind, column in PRICE_COLUMNS.items()
        if raw.get(column) is not None
    }
    others = raw.get(OTHER_UNIT_PRICES)
    if others is not None:
        prices.update(parse_other_unit_prices(others, f"{path}.{OTHER_UNIT_PRICES}"))
    return above, prices


def _parse_amount(raw: object, param: str) -> Decimal:
    """Parse a decimal from a string or a JSON number."""
    text = str(raw) if isinstance(raw, str | int | float | Decimal) and not isinstance(raw, bool) else ""
    if not _NUMBER.fullmatch(text):
        raise field_error(param, 'Must be a decimal number, for example "2.50".')
    try:
        return Decimal(text)
    except InvalidOperation:  # pragma: no cover - the pattern rejects it
        raise field_error(param, "Must be a number.") from None


def check_amount(price: Decimal, param: str) -> None:
    if not price.is_finite() or not 0 <= price < _TOO_LARGE:
        raise field_error(param, f"Must be from 0 to less than {_TOO_LARGE:f}.")
    exponent = price.normalize().as_tuple().exponent
    if isinstance(exponent, int) and exponent < -_DECIMALS:
        raise field_error(param, f"At most {_DECIMALS} decimals are allowed.")


TierJSON: TypeAlias = dict[str, int | str | dict[str, str]]

UNIT_PRICE_COLUMNS = tuple(PRICE_COLUMNS.values())


def kind_prices_of(version: PriceVersion) -> KindPrices:
    """Return the unit prices, tiers and conditions of a row."""
    columns = {kind: price for kind, column in PRICE_COLUMNS.items() if (price := getattr(version, column)) is not None}
    rates = Rates(
        {**columns, **prices_from_json(version.other_unit_prices)},
        tuple((tier["above_input_tokens"], _tier_prices(tier)) for tier in version.tiers),
    )
    source = CATALOGUE_SOURCE if version.source == PriceSource.CATALOGUE else version.source
    return KindPrices(rates, conditions_from_json(version.conditions), source)


def _tier_prices(tier: Mapping[str, Any]) -> dict[str, Decimal]:
    columns = {kind: Decimal(tier[column]) for kind, column in PRICE_COLUMNS.items() if column in tier}
    return {**columns, **prices_from_json(tier.get(OTHER_UNIT_PRICES, {}))}


def price_columns(prices: KindPrices) -> dict[str, Any]:
    """Return the values of a row's price columns."""
    unit_prices = prices.rates.unit_prices
    return {
        **{column: unit_prices.get(kind) for kind, column in PRICE_COLUMNS.items()},
        OTHER_UNIT_PRICES: _others(unit_prices),
        "tiers": tiers_as_json(prices.rates.tiers),
        "conditions": conditions_as_json(prices.conditions),
    }


def tiers_as_json(tiers: Iterable[tuple[int, Mapping[str, Decimal]]]) -> list[TierJSON]:
    """Return tiers in the format of `PriceVersion.tiers` and the API."""
    return [
        {
            "above_input_tokens": above,
            **{column: plain(unit_prices[kind]) for kind, column in PRICE_COLUMNS.items() if kind in unit_prices},
            **({OTHER_UNIT_PRICES: others} if (others := _others(unit_prices)) else {}),
        }
        for above, unit_prices in tiers
    ]


def _others(unit_prices: Mapping[str, Decimal]) -> dict[str, str]:
    return prices_as_json({kind: price for kind, price in unit_prices.items() if kind not in PRICE_COLUMNS})
