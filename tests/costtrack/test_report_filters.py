"""FilterSets that narrow the query of a report instead of a queryset."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.http import QueryDict
from rest_framework import serializers

from costtrack.filters import ParameterFilter, ParameterOption, ReportFilterSet
from costtrack.ignored_parameters import ignored_headers


@dataclass(frozen=True, slots=True)
class Query:
    model: str = ""
    status_code: int | None = None


class Filters(ReportFilterSet):
    model = ParameterFilter(serializers.CharField(required=False, max_length=5))
    error_code = ParameterFilter(serializers.IntegerField(required=False, min_value=0), "status_code")
    limit = ParameterOption(serializers.IntegerField(default=50, max_value=200))
    order = ParameterOption(serializers.ChoiceField(required=False, choices=["asc", "desc"]))


def filters(text: str) -> Filters:
    return Filters(QueryDict(text), Query())


def errors(text: str) -> dict[str, list[tuple[str, str]]]:
    with pytest.raises(serializers.ValidationError) as caught:
        filters(text)
    detail: Any = caught.value.detail
    return {name: [(str(error), error.code) for error in found] for name, found in detail.items()}


def test_filters_narrow_the_query_and_options_do_not() -> None:
    chosen = filters("model=gpt&error_code=429&limit=7&organization=acme")
    assert chosen.qs == Query("gpt", 429)
    assert chosen.options == {"limit": 7, "order": None}


def test_an_empty_value_counts_as_missing() -> None:
    assert filters("model=&limit=").qs == Query()
    assert filters("model=&limit=").options["limit"] == 50


def test_errors_are_those_of_the_serializer_field_under_the_name_of_the_parameter() -> None:
    assert errors("model=gpt-4o&error_code=x&limit=201") == {
        "model": [("Ensure this field has no more than 5 characters.", "max_length")],
        "error_code": [("A valid integer is required.", "invalid")],
        "limit": [("Ensure this value is less than or equal to 200.", "max_value")],
    }
    assert errors("order=50%25") == {"order": [('"50%" is not a valid choice.', "invalid_choice")]}


def test_unknown_parameters_have_no_effect_and_are_noted_by_name() -> None:
    params = QueryDict("modell=gpt&error_code=429&organization=acme&color=")
    assert Filters(params, Query()).qs == Query(status_code=429)
    assert ignored_headers(params) == {"X-Ignored-Parameters": "modell, color"}
    known = QueryDict("model=gpt")
    assert Filters(known, Query()).qs == Query("gpt")
    assert ignored_headers(known) == {}
    assert list(errors("modell=gpt&error_code=x")) == ["error_code"]
