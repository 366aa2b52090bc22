"""Filters for list endpoints (django-filter)."""

import copy
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.fields import empty

from costtrack.calendar import Calendar
from costtrack.date_fields import StartField
from costtrack.dates import UTC_CALENDAR, parse_start
from costtrack.ignored_parameters import ignore

SerializerField = serializers.Field[Any, Any, Any, Any]


class TimestampField(forms.Field):
    """Parses a time, or a date as the beginning of that day, as an aware datetime in UTC."""

    def __init__(self, *, calendar: Calendar = UTC_CALENDAR, **options: Any) -> None:
        super().__init__(**options)
        self.calendar = calendar

    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        try:
            return parse_start(str(value), self.calendar)
        except ValueError:
            raise ValidationError("Not an ISO 8601 date or time.", code="invalid") from None


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
    """Dates are days of the organization of the view."""

    field_class = TimestampField  # type: ignore[assignment] # the stubs want their own field
    parent: Any

    @property
    def field(self) -> Any:
        request = self.parent.request
        if request is not None:
            self.extra["calendar"] = request.parser_context["view"].organization.calendar
        return super().field


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
    """Filters the query of a report (a frozen dataclass) instead of a queryset, by `ParameterFilter`s. Ignores unknown
    parameters (`costtrack.ignored_parameters`); every endpoint accepts `organization`."""

    def __init__(self, data: QueryDict, query: Any = None, calendar: Calendar = UTC_CALENDAR) -> None:
        """Validate the parameters, with dates as days of the calendar. Raises ValidationError."""
        self.is_bound, self.data, self.queryset = True, data, query
        self.request, self.form_prefix = None, None
        filters, form_class = _filters_and_form(type(self))
        self.filters = OrderedDict((name, self._own(shared)) for name, shared in filters.items())
        self._form = form_class(data)
        for field in self._form.fields.values():
            if isinstance(field.parameter, StartField):
                field.parameter = copy.copy(field.parameter)
                field.parameter.calendar = calendar
        unknown = [name for name in data if name not in self.filters and name != "organization"]
        if unknown:
            ignore(data, unknown)
        if not self.is_valid():
            invalid: Any = self.errors
            fields = invalid.as_data().items()
            raise serializers.ValidationError(
                {name: [ErrorDetail(error.message, error.code) for error in errors] for name, errors in fields}
            )

    def _own(self, shared: Any) -> Any:
        """Return the filter, or a copy that calls this set's method."""
        if shared.method is None:
            return shared
        own = copy.copy(shared)
        own.parent, own.method = self, shared.method
        return own

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

    @classmethod
    def parameters(cls) -> type[serializers.Serializer[Any]]:
        """Return the parameters for `extend_schema(parameters=[...])`."""
        fields = {name: parameter_filter.extra["parameter"] for name, parameter_filter in cls.base_filters.items()}
        return type(cls.__name__, (serializers.Serializer,), fields)


@cache
def _filters_and_form(filterset: type[ReportFilterSet]) -> tuple[dict[str, Any], Any]:
    """Return the filters of a set and the form that validates its parameters. To make them took most of the time of
    each validation; requests copy only what they change."""
    filters = copy.deepcopy(filterset.base_filters)
    for name, parameter_filter in filters.items():
        parameter_filter.extra["parameter"].field_name = name
    fields = {name: parameter_filter.field for name, parameter_filter in filters.items()}
    return filters, type(f"{filterset.__name__}Form", (forms.Form,), fields)
