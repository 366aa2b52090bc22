"""The fields of a price: their validation, and their conversion to and from rows of `PriceVersion`.

Errors name the field as the API does.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from billing.models import PriceVersion
from billing.pricing.types import PriceKind, Tier, UnitPrices
from costtrack.errors import field_error
from costtrack.money import plain

_DECIMALS = 12
_TOO_LARGE = Decimal(10) ** 12
_MAX_ALIASES = 100
_MAX_TIERS = 20
_MAX_TOKENS = 2**53
_MAX_NAME_LENGTH = {"provider": 64, "model": 255, "aliases": 255}
_KIND_OF_COLUMN = {kind.column: kind for kind in PriceKind}
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,2})?")


def check_names(provider: str, model: str, aliases: Sequence[str]) -> None:
    """Raise InvalidError for invalid names. An empty provider means any provider."""
    if not model:
        raise field_error("model", "A name is required.")
    if len(aliases) > _MAX_ALIASES:
        raise field_error("aliases", f"At most {_MAX_ALIASES} are allowed.")
    if not all(aliases):
        raise field_error("aliases", "A name must not be empty.")
    for param, names in (("provider", [provider]), ("model", [model]), ("aliases", aliases)):
        for name in names:
            if len(name) > _MAX_NAME_LENGTH[param]:
                raise field_error(param, f"At most {_MAX_NAME_LENGTH[param]} characters are allowed.")
            if not name.isprintable():
                raise field_error(param, "Control characters are not allowed.")


def check_prices(prices: UnitPrices) -> None:
    """Raise InvalidError for prices that are empty or do not fit the columns."""
    if not prices.unit_prices:
        raise field_error(PriceKind.INPUT.column, "At least one unit price is required.")
    for kind, price in prices.unit_prices.items():
        _check_amount(price, kind.column)
    if len(prices.tiers) > _MAX_TIERS:
        raise field_error("tiers", f"At most {_MAX_TIERS} are allowed.")
    before = 0
    for index, tier in enumerate(prices.tiers):
        path = f"tiers.{index}"
        if not before < tier.above_input_tokens <= _MAX_TOKENS:
            reason = f"Must be a whole number above {before}; tiers must be in ascending order."
            raise field_error(f"{path}.above_input_tokens", reason)
        if not tier.unit_prices:
            raise field_error(path, "At least one unit price is required.")
        for kind, price in tier.unit_prices.items():
            _check_amount(price, f"{path}.{kind.column}")
        before = tier.above_input_tokens


def check_period(effective_from: datetime, effective_to: datetime | None) -> None:
    if effective_to is not None and effective_to <= effective_from:
        raise field_error("effective_to", "Must be later than effective_from.")


def parse_tiers(raw: object) -> tuple[Tier, ...]:
    """Parse `[{"above_input_tokens": 200000, "input_usd_per_million": "6.00"}]`; see `PriceVersion.tiers`.

    Raises InvalidError with the path of the field.
    """
    if not isinstance(raw, list):
        raise field_error("tiers", "Must be a list.")
    return tuple(_parse_tier(entry, f"tiers.{index}") for index, entry in enumerate(raw))


def _parse_tier(raw: object, path: str) -> Tier:
    if not isinstance(raw, Mapping):
        raise field_error(path, "Must be an object.")
    unknown = sorted(str(name) for name in raw if name not in _KIND_OF_COLUMN and name != "above_input_tokens")
    if unknown:
        raise field_error(f"{path}.{unknown[0]}", "Unknown field.", code="unknown_field")
    above = raw.get("above_input_tokens")
    if not isinstance(above, int) or isinstance(above, bool):
        raise field_error(f"{path}.above_input_tokens", "Must be a whole number of tokens.")
    prices = {
        kind: _parse_amount(raw[column], f"{path}.{column}")
        for column, kind in _KIND_OF_COLUMN.items()
        if raw.get(column) is not None
    }
    return Tier(above, prices)


def _parse_amount(raw: object, param: str) -> Decimal:
    """Parse a decimal from a string or a JSON number."""
    text = str(raw) if isinstance(raw, str | int | float | Decimal) and not isinstance(raw, bool) else ""
    if not _NUMBER.fullmatch(text):
        raise field_error(param, 'Must be a decimal number, for example "2.50".')
    try:
        return Decimal(text)
    except InvalidOperation:  # pragma: no cover - the pattern rejects it
        raise field_error(param, "Must be a number.") from None


def _check_amount(price: Decimal, param: str) -> None:
    if not price.is_finite() or not 0 <= price < _TOO_LARGE:
        raise field_error(param, f"Must be from 0 to less than {_TOO_LARGE:f}.")
    exponent = price.normalize().as_tuple().exponent
    if isinstance(exponent, int) and exponent < -_DECIMALS:
        raise field_error(param, f"At most {_DECIMALS} decimals are allowed.")


TierJSON: TypeAlias = dict[str, int | str]

UNIT_PRICE_COLUMNS = tuple(kind.column for kind in PriceKind)


def unit_prices_of(version: PriceVersion) -> UnitPrices:
    """Return the unit prices and tiers of a row."""
    return UnitPrices(
        {kind: price for kind in PriceKind if (price := getattr(version, kind.column)) is not None},
        tuple(
            Tier(
                tier["above_input_tokens"],
                {kind: Decimal(tier[kind.column]) for kind in PriceKind if kind.column in tier},
            )
            for tier in version.tiers
        ),
    )


def price_columns(prices: UnitPrices) -> dict[str, Decimal | list[TierJSON] | None]:
    """Return the values of a row's price columns, including `tiers`."""
    unit_prices = {kind.column: prices.unit_prices.get(kind) for kind in PriceKind}
    return {**unit_prices, "tiers": tiers_as_json(prices.tiers)}


def tiers_as_json(tiers: Sequence[Tier]) -> list[TierJSON]:
    """Return tiers in the format of `PriceVersion.tiers` and the API."""
    return [
        {
            "above_input_tokens": tier.above_input_tokens,
            **{kind.column: plain(price) for kind, price in tier.unit_prices.items()},
        }
        for tier in tiers
    ]
