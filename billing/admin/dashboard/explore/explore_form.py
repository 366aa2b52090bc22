"""The parameters of the explorer, all of them in the URL: dimensions, columns, and filters by every dimension."""

from typing import Any

from django import forms
from django.http import QueryDict

from billing.admin.components.date_range import PeriodForm
from billing.admin.components.form_fields import FilterChoiceField, text_filter
from billing.reports.usage.explorer import SortBy
from billing.reports.usage.figures import DIMENSIONS, GroupBy, UsageFilter
from billing.types import Status
from costtrack.calendar import Preset, Unit
from costtrack.name_fields import NameFormField

DIMENSION_CHOICES = tuple((dimension.by.value, dimension.label) for dimension in DIMENSIONS)
ALL_MEASURES = "all"
MEASURES = (
    (SortBy.COST.value, "Cost"),
    (SortBy.REQUESTS.value, "Requests"),
    (SortBy.TOTAL_TOKENS.value, "Tokens"),
    (SortBy.PROMPT_TOKENS.value, "Input tokens"),
    (SortBy.COMPLETION_TOKENS.value, "Output tokens"),
    (SortBy.COST_PER_REQUEST.value, "Cost per request"),
)
"""What the columns of periods show."""
_PERIOD_SORT = "p"
FILTERS = tuple(dimension.parameter for dimension in DIMENSIONS)


class ExploreForm(PeriodForm):
    """`columns` is the length of the periods that have columns; empty: only totals."""

    default_range = Preset.MONTH

    group_by = FilterChoiceField(choices=DIMENSION_CHOICES, required=False, label="Rows")
    then_by = FilterChoiceField(choices=(("", "None"), *DIMENSION_CHOICES), required=False, label="Then by")
    columns = FilterChoiceField(
        choices=(("", "Totals"), *((unit.value, f"By {unit}") for unit in Unit)), required=False, label="Columns"
    )
    measure = FilterChoiceField(choices=MEASURES, required=False, label="Show")
    compare = forms.BooleanField(required=False, label="Compare with the previous period")
    include_users = forms.BooleanField(required=False, label="Cost per user")
    search = NameFormField(required=False, max_length=255, widget=forms.HiddenInput)
    sort_by = forms.Field(required=False, widget=forms.HiddenInput)
    sort_order = forms.Field(required=False, widget=forms.HiddenInput)

    def __init__(self, data: QueryDict | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        for dimension in DIMENSIONS:
            self.fields[dimension.parameter] = _filter(dimension.by, dimension.label)

    @classmethod
    def with_range(cls, data: QueryDict) -> QueryDict:
        """Also fill in the default dimension."""
        filled = super().with_range(data)
        if not filled.get("group_by"):
            filled["group_by"] = GroupBy.MODEL.value
        return filled

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("then_by") and cleaned["then_by"] == cleaned.get("group_by"):
            self.add_error("then_by", "Choose another dimension.")
        return cleaned

    @property
    def basic_fields(self) -> list[forms.BoundField]:
        names = ("range", "start_date", "end_date", "group_by", "then_by", "columns", "measure")
        return [self[name] for name in names if name != "measure" or self.unit is not None]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("compare", "include_users", *FILTERS)]

    @property
    def has_more_filters(self) -> bool:
        return any(self.errors.get(name) for name in FILTERS)

    @property
    def css(self) -> str:
        """The class of the chosen range, which decides the visible fields."""
        return f"ct-{self['range'].value() or ''}"

    @property
    def filters(self) -> UsageFilter:
        return UsageFilter(**{name: self._chosen(name) for name in FILTERS})

    @property
    def by(self) -> tuple[GroupBy, ...]:
        names = dict.fromkeys(name for name in (self._chosen("group_by"), self._chosen("then_by")) if name)
        return tuple(map(GroupBy, names)) or (GroupBy.MODEL,)

    @property
    def unit(self) -> Unit | None:
        name = self._chosen("columns")
        return Unit(name) if name else None

    @property
    def measure_shown(self) -> SortBy:
        return SortBy(self._chosen("measure") or SortBy.COST)

    @property
    def compares(self) -> bool:
        return bool(self._chosen("compare"))

    @property
    def counts_users(self) -> bool:
        return bool(self._chosen("include_users"))

    @property
    def search_text(self) -> str:
        return str(self._chosen("search"))

    def sorting(self, periods: int) -> tuple[SortBy, int, bool]:
        """Return the order, the index of the period that it is of, and whether it is ascending; the default for one
        that does not exist."""
        name, is_ascending = str(self._chosen("sort_by")), self._chosen("sort_order") == "asc"
        if name.startswith(_PERIOD_SORT) and name[1:].isascii() and name[1:].isdecimal() and len(name) <= len("p9999"):
            index = int(name[1:])
            return (SortBy.PERIOD, index, is_ascending) if index < periods else (SortBy.COST, 0, False)
        known = {sort.value for sort in SortBy} - {SortBy.PERIOD.value}
        return (SortBy(name), 0, is_ascending) if name in known else (SortBy.COST, 0, is_ascending)

    def _chosen(self, name: str) -> Any:
        self.is_valid()
        return self.cleaned_data.get(name) or ""


def period_order(index: int) -> str:
    """Return the value of `sort_by` for the column of a period."""
    return f"{_PERIOD_SORT}{index}"


def _filter(by: GroupBy, label: str) -> forms.Field:
    if by is GroupBy.STATUS:
        return FilterChoiceField(required=False, choices=(("", "Any status"), *Status.choices), label=label)
    return text_filter("Client ID" if by is GroupBy.CREDENTIAL else label, type="search", placeholder="All")
