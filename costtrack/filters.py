"""Filters for list endpoints (django-filter)."""

import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NoReturn

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django_filters.fields import IsoDateTimeField
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.fields import empty

SerializerField = serializers.Field[Any, Any, Any, Any]


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


class ParameterField(forms.Field):
    """Validates a query parameter by a serializer field: its errors and its OpenAPI type are those of bodies."""

    def __init__(self, *, parameter: SerializerField, **options: Any) -> None:
        super().__init__(**options)
        self.parameter = parameter

    def clean(self, value: Any) -> Any:
        """Return the valid value, or the default (else None) if it is missing or empty."""
        if value in self.empty_values:
            return None if self.parameter.default is empty else self.parameter.default
        try:
            return self.parameter.run_validation(value)
        except serializers.ValidationError as error:
            details: Any = error.detail
            raise ValidationError([ValidationError(str(detail), code=detail.code) for detail in details]) from error


class ParameterFilter(django_filters.Filter):
    """Sets a field of a report's query. `field_name` is its name, if it differs from that of the parameter."""

    field_class = ParameterField

    def __init__(self, parameter: SerializerField, field_name: str | None = None, method: str | None = None) -> None:
        super().__init__(field_name, method=method, parameter=parameter)

    def filter(self, qs: Any, value: Any) -> Any:
        return qs if value is None else replace(qs, **{str(self.field_name): value})


class ParameterOption(ParameterFilter):
    """A parameter that does not filter, such as the page size; views read it from `FilterSet.options`."""

    def filter(self, qs: Any, value: Any) -> Any:
        return qs


class ReportFilterSet(django_filters.FilterSet):
    """Filters the query of a report (a frozen dataclass) instead of a queryset, by `ParameterFilter`s. Rejects unknown
    parameters; every endpoint accepts `organization`."""

    def __init__(self, data: QueryDict, query: Any = None) -> None:
        """Validate the parameters. Raises ValidationError."""
        self.is_bound, self.data, self.queryset = True, data, query
        self.request, self.form_prefix = None, None
        self.filters = copy.deepcopy(self.base_filters)
        for name, parameter_filter in self.filters.items():
            parameter_filter.parent = self  # type: ignore[attr-defined] # set by its base class, too
            parameter_filter.extra["parameter"].field_name = name
        unknown = [name for name in data if name not in self.filters and name != "organization"]
        if unknown:
            self.refuse_unknown(unknown)
        if not self.is_valid():
            invalid: Any = self.errors
            fields = invalid.as_data().items()
            raise serializers.ValidationError(
                {name: [ErrorDetail(error.message, error.code) for error in errors] for name, errors in fields}
            )

    @property
    def qs(self) -> Any:
        """Return the query with the filters applied."""
        return self.narrow(self.queryset)

    @property
    def options(self) -> dict[str, Any]:
        cleaned = self.form.cleaned_data
        return {name: cleaned[name] for name, option in self.filters.items() if isinstance(option, ParameterOption)}

    def narrow(self, query: Any) -> Any:
        for name, value in self.form.cleaned_data.items():
            query = self.filters[name].filter(query, value)
        return query

    def refuse_unknown(self, unknown: list[str]) -> NoReturn:
        raise serializers.ValidationError({name: ["Unknown field."] for name in unknown}, code="unknown_field")

    @classmethod
    def parameters(cls) -> type[serializers.Serializer[Any]]:
        """Return the parameters for `extend_schema(parameters=[...])`."""
        fields = {name: parameter_filter.extra["parameter"] for name, parameter_filter in cls.base_filters.items()}
        return type(cls.__name__, (serializers.Serializer,), fields)
