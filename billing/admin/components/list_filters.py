"""Filters of the billing lists. They have short parameter names and accept any value without an error."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Self, cast

from django.contrib.admin import ListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, Q, QuerySet, TextChoices
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter, TextFilter
from unfold.contrib.filters.forms import RangeDateForm

from costtrack.dates import UTC_CALENDAR, end_of, parse_day, parse_start
from costtrack.ids import ids_at
from costtrack.names import clean_name
from organizations.admin_request import chosen_organization

_DIGITS_OF_BIGINT = 19
_HOUR = timedelta(hours=1)
_FIRST_DAY, _LAST_DAY = date(1970, 1, 2), date(9999, 12, 29)


class _DeclaredFilter(ListFilter):
    @classmethod
    def of(cls, title: str, parameter: str, **attributes: Any) -> type[Self]:
        """Return a filter with these attributes, so that a list declares each of its filters in a line."""
        declared = {"title": title, "parameter_name": parameter, **attributes}
        return cast("type[Self]", type(cls.__name__, (cls,), declared))


class ChoiceFilter(_DeclaredFilter, DropdownFilter):
    """Filters by one value of a column with choices. `column` is the parameter's name unless it is set."""

    options: ClassVar[type[TextChoices]]
    column: ClassVar[str] = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in self.options.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value, column = self.value(), self.column or str(self.parameter_name)
        return queryset.filter(**{column: value}) if value in self.options.values else queryset


class ConditionFilter(_DeclaredFilter, DropdownFilter):
    """Filters by one of several conditions, each with its value in the URL and its label. `default` is the condition
    without a choice."""

    conditions: ClassVar[tuple[tuple[str, str, Q], ...]]
    default: ClassVar[Q] = Q()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, label) for value, label, _ in self.conditions]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = {value: condition for value, _, condition in self.conditions}
        return queryset.filter(chosen.get(self.value() or "", self.default))


class ExactTextFilter(_DeclaredFilter, TextFilter):
    """Filters by a text: equal to the column (`lookup` exact), or contained in it."""

    column: ClassVar[str]
    lookup: ClassVar[str] = "exact"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = clean_name(self.value() or "")
        if not text:
            return queryset
        if "\0" in text:  # PostgreSQL rejects NUL in texts
            return queryset.none()
        return self.matches(queryset, text)

    def matches(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.column}__{self.lookup}": text})


class NumberFilter(ExactTextFilter):
    """Filters by an integer, such as a row's id."""

    def matches(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        is_number = text.isascii() and text.isdecimal() and len(text) < _DIGITS_OF_BIGINT
        return queryset.filter(**{self.column: int(text)}) if is_number else queryset.none()


class HourFilter(ExactTextFilter):
    """Filters by an hour, given by its start. An invalid time matches nothing."""

    def matches(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        try:
            start = parse_start(text, zone=timezone.get_current_timezone())
            return queryset.filter(**{f"{self.column}__gte": start, f"{self.column}__lt": start + _HOUR})
        except (ValueError, OverflowError):
            return queryset.none()


class PeriodFilter(ListFilter):
    """Filters by a first and a last day (inclusive) of the organization. An invalid day is ignored; the form shows the
    error."""

    title = "period"
    template = "unfold/filters/filters_date_range.html"
    form_class = RangeDateForm
    name: ClassVar[str] = "when"
    column: ClassVar[str]
    parameter_names: ClassVar[tuple[str, ...]] = ("when_from", "when_to")

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        organization = chosen_organization(request)
        self._calendar = UTC_CALENDAR if organization is None else organization.calendar
        self.title = f"period ({self._calendar.zone.key})"
        for name in self.parameter_names:
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.parameter_names)

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        given = {name: self.used_parameters.get(name) for name in self.parameter_names}
        yield {"form": self.form_class(name=self.name, data=given)}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        first, last = (_day(self.used_parameters.get(name)) for name in self.parameter_names)
        if first is not None:
            queryset = queryset.filter(**self.since(self._calendar.start_of(first)))
        if last is not None:
            queryset = queryset.filter(**self.before(end_of(last, self._calendar)))
        return queryset

    @classmethod
    def of(cls, column: str) -> type[Self]:
        return cast("type[Self]", type(cls.__name__, (cls,), {"column": column}))

    def since(self, instant: datetime) -> dict[str, Any]:
        return {f"{self.column}__gte": instant}

    def before(self, instant: datetime) -> dict[str, Any]:
        return {f"{self.column}__lt": instant}


class IdPeriodFilter(PeriodFilter):
    """Filters by ids, which are ordered by time and indexed."""

    def since(self, instant: datetime) -> dict[str, Any]:
        return {"id__gte": ids_at(instant)[0]}

    def before(self, instant: datetime) -> dict[str, Any]:
        return {"id__lt": ids_at(instant)[0]}


def _day(text: Any) -> date | None:
    try:
        day = parse_day(str(text))
    except ValueError:
        return None
    return day if _FIRST_DAY <= day <= _LAST_DAY else None
