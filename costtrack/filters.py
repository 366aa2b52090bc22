"""Filters for list endpoints (django-filter)."""

from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django_filters.fields import IsoDateTimeField


class TimestampField(IsoDateTimeField):
    """Parses an ISO 8601 time as an aware datetime in UTC. (PostgreSQL supports fewer offsets than Python.)"""

    def clean(self, value: Any) -> datetime | None:
        instant: datetime | None = super().clean(value)
        try:
            return instant.astimezone(UTC) if instant is not None else None
        except OverflowError:
            raise ValidationError("Must be a time between the years 1 and 9999.") from None


class TrueOrFalseField(forms.Field):
    """True, False, or None if it is empty. Unlike django-filter's own field, it rejects other values."""

    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        if str(value).lower() not in ("true", "false"):
            raise ValidationError("Must be true or false.", code="invalid")
        return str(value).lower() == "true"


class TrueOrFalseFilter(django_filters.BooleanFilter):
    field_class = TrueOrFalseField  # type: ignore[assignment] # the stubs want a NullBooleanField


class TimestampFilter(django_filters.IsoDateTimeFilter):
    field_class = TimestampField
