"""Prices by kind as JSON, for columns of a price version and for the API. Decimals are strings. Pure."""

from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.pricing.conditions import Condition, Hours, Rates
from billing.pricing.kind_prices import KindPrices
from costtrack.money import plain


def kind_prices_as_json(prices: KindPrices) -> dict[str, Any]:
    return {
        **_rates_as_json(prices.rates),
        "conditions": conditions_as_json(prices.conditions),
        "source": prices.source,
    }


def kind_prices_from_json(raw: Mapping[str, Any]) -> KindPrices:
    """Return the prices of `kind_prices_as_json`."""
    return KindPrices(
        _rates_from_json(raw),
        conditions_from_json(raw.get("conditions", ())),
        raw.get("source", ""),
    )


def conditions_as_json(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    return [_condition_as_json(condition) for condition in conditions]


def conditions_from_json(raw: Iterable[Mapping[str, Any]]) -> tuple[Condition, ...]:
    return tuple(map(_condition_from_json, raw))


def _rates_as_json(rates: Rates) -> dict[str, Any]:
    return {
        "unit_prices": prices_as_json(rates.unit_prices),
        "tiers": [
            {"above_input_tokens": above, "unit_prices": prices_as_json(unit_prices)}
            for above, unit_prices in rates.tiers
        ],
    }


def _rates_from_json(raw: Mapping[str, Any]) -> Rates:
    return Rates(
        prices_from_json(raw["unit_prices"]),
        tuple((tier["above_input_tokens"], prices_from_json(tier["unit_prices"])) for tier in raw.get("tiers", ())),
    )


def prices_as_json(unit_prices: Mapping[str, Decimal]) -> dict[str, str]:
    return {kind: plain(price) for kind, price in unit_prices.items()}


def prices_from_json(raw: Mapping[str, str]) -> dict[str, Decimal]:
    return {kind: Decimal(price) for kind, price in raw.items()}


def _condition_as_json(condition: Condition) -> dict[str, Any]:
    """Return what the condition says; members without meaning are left out."""
    hours = condition.hours
    members = {
        "attribute": condition.attribute,
        "values": list(condition.values),
        "platforms": list(condition.platforms),
        "models": list(condition.models),
        "factor": str(condition.factor) if condition.factor is not None else None,
        "rates": _rates_as_json(condition.rates) if condition.rates is not None else None,
        "kinds": list(condition.kinds),
        "hours": [hours.start.isoformat(), hours.end.isoformat()] if hours is not None else None,
        "starts": condition.starts.isoformat() if condition.starts is not None else None,
        "ends": condition.ends.isoformat() if condition.ends is not None else None,
        "source": condition.source,
        "checked": condition.checked.isoformat() if condition.checked is not None else None,
    }
    return {name: value for name, value in members.items() if value}


def _condition_from_json(raw: Mapping[str, Any]) -> Condition:
    hours = raw.get("hours")
    return Condition(
        raw["attribute"],
        tuple(raw["values"]),
        tuple(raw["platforms"]),
        tuple(raw["models"]),
        Fraction(raw["factor"]) if "factor" in raw else None,
        _rates_from_json(raw["rates"]) if "rates" in raw else None,
        tuple(raw.get("kinds", ())),
        Hours(time.fromisoformat(hours[0]), time.fromisoformat(hours[1])) if hours is not None else None,
        _date(raw.get("starts")),
        _date(raw.get("ends")),
        raw.get("source", ""),
        _date(raw.get("checked")),
    )


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text is not None else None
