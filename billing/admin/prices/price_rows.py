"""Form fields of a price that have a row of inputs for each entry: its tiers, and its unit prices of other kinds.

Rows without any value are left out, so an entry is removed by emptying its row. A few empty rows are always shown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from billing.admin.components.formatting import KIND_LABELS
from billing.pricing.kind_prices_json import prices_as_json
from billing.pricing.kinds import KINDS, PRICE_COLUMNS
from billing.pricing.price_fields import (
    OTHER_UNIT_PRICES,
    TierJSON,
    parse_other_unit_prices,
    parse_tiers,
    tiers_as_json,
)
from costtrack.errors import InvalidError

Row = Mapping[str, str]
_ABOVE = "above_input_tokens"
_EMPTY_ROWS = 2
_MAX_ROWS = 100
_SEPARATOR = ":"


@dataclass(frozen=True, slots=True)
class RowInput:
    """An input of each row; with choices, a select."""

    name: str
    label: str
    choices: Sequence[tuple[str, str]] = ()


_TIER_INPUTS = (
    RowInput(_ABOVE, "Above (input tokens)"),
    *(RowInput(column, KIND_LABELS[kind]) for kind, column in PRICE_COLUMNS.items()),
    RowInput(OTHER_UNIT_PRICES, "Other kinds"),
)
_OTHER_KINDS = [(kind, KIND_LABELS[kind]) for kind in KINDS if kind not in PRICE_COLUMNS]
_OTHER_INPUTS = (
    RowInput("kind", "Kind", [("", "-"), *sorted(_OTHER_KINDS, key=lambda choice: choice[1])]),
    RowInput("price", "US dollars"),
)


class RowsWidget(forms.Widget):
    """Groups of inputs, which are named `<name>-<row>-<input>`."""

    template_name = "admin/billing/priceversion/rows.html"
    inputs: Sequence[RowInput] = ()
    title = ""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, None, attrs)
        rows: list[Row] = [*(value or ()), *[{}] * _EMPTY_ROWS]
        context["widget"]["rows"] = [
            {
                "title": f"{self.title} {index + 1}",
                "inputs": [
                    {
                        "name": f"{name}-{index}-{column.name}",
                        "label": column.label,
                        "value": row.get(column.name, ""),
                        "choices": column.choices,
                    }
                    for column in self.inputs
                ],
            }
            for index, row in enumerate(rows)
        ]
        return context

    def id_for_label(self, id_: str) -> str:
        """Each input has a label of its own."""
        return ""

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> list[Row]:
        rows = (
            {column.name: str(data.get(f"{name}-{index}-{column.name}", "")).strip() for column in self.inputs}
            for index in range(_MAX_ROWS)
        )
        return [row for row in rows if any(row.values())]

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        """An empty list is a value too."""
        return False


class RowsField(forms.Field):
    """`title` names a row in labels and errors."""

    inputs: ClassVar[Sequence[RowInput]]
    title: ClassVar[str]

    def __init__(self, **options: Any) -> None:
        widget = RowsWidget()
        widget.inputs, widget.title = self.inputs, self.title
        super().__init__(widget=widget, required=False, **options)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(self.prepare_value(initial) or []) != list(data or [])

    def _parse(self, parse: Callable[[Any], Any], value: Any) -> Any:
        try:
            return parse(value)
        except InvalidError as error:
            raise ValidationError(self.error_text(error)) from None

    def error_text(self, error: InvalidError) -> str:
        """Return the message with the row and the input that it is about."""
        raise NotImplementedError


class TiersField(RowsField):
    """Unit prices of prompts above a number of input tokens; see `PriceVersion.tiers`."""

    inputs = _TIER_INPUTS
    title = "Tier"

    def prepare_value(self, value: Any) -> list[Row]:
        """Return the rows of tiers, or those that were sent."""
        return [{**tier, OTHER_UNIT_PRICES: _kinds_text(tier.get(OTHER_UNIT_PRICES, ""))} for tier in value or ()]

    def clean(self, value: Any) -> list[TierJSON]:
        return tiers_as_json(self._parse(parse_tiers, [_tier(row) for row in value]))

    def error_text(self, error: InvalidError) -> str:
        _, _, path = (error.param or "").partition(".")
        index, _, name = path.partition(".")
        labels = {column.name: column.label for column in _TIER_INPUTS}
        label = ", ".join(filter(None, (labels.get(name.split(".")[0], ""), name.partition(".")[2])))
        where = f"Tier {int(index) + 1}{f', {label}' if label else ''}: " if index.isdecimal() else ""
        return f"{where}{_reason(error)}"


class OtherUnitPricesField(RowsField):
    """Unit prices of kinds without a field of their own."""

    inputs = _OTHER_INPUTS
    title = "Price"

    def prepare_value(self, value: Any) -> list[Row]:
        if isinstance(value, Mapping):
            return [{"kind": kind, "price": price} for kind, price in value.items()]
        return list(value or ())

    def clean(self, value: Any) -> dict[str, str]:
        return prices_as_json(self._parse(parse_other_unit_prices, self._parse(_by_kind, value)))

    def error_text(self, error: InvalidError) -> str:
        kind = (error.param or "").partition(".")[2]
        return f"{KIND_LABELS.get(kind, kind)}: {_reason(error)}" if kind else _reason(error)


def _reason(error: InvalidError) -> str:
    """Return the message without the path of the field."""
    return error.message.removeprefix(f"{error.param}: ")


def _tier(row: Row) -> dict[str, Any]:
    """Return a tier in the format of the API. What is not a number stays text, which `parse_tiers` refuses."""
    above = row[_ABOVE].replace(",", "")
    kinds = _kinds(row[OTHER_UNIT_PRICES])
    return {
        **{name: text for name, text in row.items() if text},
        _ABOVE: int(above) if above.isascii() and above.isdecimal() else above,
        **({OTHER_UNIT_PRICES: kinds} if kinds else {}),
    }


def _by_kind(rows: Sequence[Row]) -> dict[str, str]:
    prices: dict[str, str] = {}
    for row in rows:
        if not row["kind"]:
            raise InvalidError("Choose a kind of usage for each price.", param=OTHER_UNIT_PRICES)
        if row["kind"] in prices:
            raise InvalidError("Two prices of one kind.", param=f"{OTHER_UNIT_PRICES}.{row['kind']}")
        prices[row["kind"]] = row["price"]
    return prices


def _kinds(text: str) -> dict[str, str]:
    """Parse `image_input: 10.00, web_search: 5`."""
    pairs = (entry.partition(_SEPARATOR) for entry in text.split(",") if entry.strip())
    return {kind.strip(): price.strip() for kind, _, price in pairs}


def _kinds_text(kinds: Mapping[str, str] | str) -> str:
    """Return text as it was sent, or the text of stored prices."""
    if isinstance(kinds, str):
        return kinds
    return ", ".join(f"{kind}{_SEPARATOR} {price}" for kind, price in kinds.items())
