"""The base class of request bodies, and fields that several serializers have."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field
from rest_framework import serializers

from costtrack.calendar import Calendar
from costtrack.dates import UTC_CALENDAR
from costtrack.money import is_amount, plain
from costtrack.name_fields import NameField
from costtrack.responses import DECIMAL_STRING


@extend_schema_field({"type": "string", **DECIMAL_STRING})
class AmountField(serializers.Field[Decimal, Any, str, Any]):
    """US dollars as a plain decimal string. Only for responses."""

    def to_representation(self, value: Decimal) -> str:
        return plain(value)


class AmountInputField(serializers.DecimalField):
    """US dollars in a request, as a string or a number; nothing is rounded."""

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, str) and not is_amount(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictSerializer(serializers.Serializer[Any]):
    """Rejects unknown fields by name, so that a misspelled field is not silently ignored, and numbers for text
    fields."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            self._refuse_unknown(data)
            self._refuse_numbers(data)
        return super().to_internal_value(data)

    def _refuse_unknown(self, data: dict[Any, Any]) -> None:
        unknown = [name for name in data if name not in self.fields]
        if unknown:
            raise serializers.ValidationError({str(name): ["Unknown field."] for name in unknown}, code="unknown_field")

    def _refuse_numbers(self, data: dict[Any, Any]) -> None:
        texts = [name for name, field in self.fields.items() if isinstance(field, serializers.CharField)]
        numbers = [name for name in texts if isinstance(data.get(name), int | float)]
        if numbers:
            raise serializers.ValidationError({name: ["Not a valid string."] for name in numbers}, code="invalid")


def optional_text(help_text: str | None = None, *, max_length: int = 255) -> serializers.CharField:
    """Return a name as a query parameter; an empty one counts as missing."""
    return NameField(required=False, allow_blank=True, max_length=max_length, help_text=help_text)


def page_size(**options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(default=50, min_value=1, max_value=200, **options)


def page_cursor() -> serializers.CharField:
    return serializers.CharField(
        required=False, allow_blank=True, max_length=100, help_text="`next_cursor` of the previous page."
    )


def request_example(name: str, **body: Any) -> OpenApiExample:
    return OpenApiExample(name, body, request_only=True)


def validated(body: type[StrictSerializer], data: Any, calendar: Calendar = UTC_CALENDAR) -> dict[str, Any]:
    """Return the valid fields of a request body, with its dates as days of the calendar. Raises ValidationError."""
    serializer = body(data=data, context={"calendar": calendar})
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
