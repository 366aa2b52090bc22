"""Typed quantities of the JSON endpoint."""

from decimal import Decimal
from typing import Any

import pytest

from billing.ingest.usage.quantities import InvalidQuantityError, parse_quantities


def test_quantities_are_by_kind() -> None:
    raw = {"input": 1000, "web_search": 2.0, "audio_input_seconds": 12.5, "output": 0, "reasoning": None}

    assert parse_quantities(raw) == {"input": 1000, "web_search": 2, "audio_input_seconds": Decimal("12.5")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hologram", 1),
        ("input_tokens", 1),
        ("input", "1000"),
        ("input", True),
        ("input", 1.5),
        ("input", -1),
        ("input", 10**13),
        ("audio_seconds", float("nan")),
        ("audio_seconds", Decimal("Infinity")),
        ("audio_seconds", [1]),
    ],
)
def test_what_is_not_a_quantity_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidQuantityError, match=name) as caught:
        parse_quantities({name: value})

    assert caught.value.kind == name
