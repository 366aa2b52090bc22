"""The filter of which several values can be chosen."""

import re

from django import forms
from django.http import QueryDict

from billing.admin.components.multi_select import MultiSelectField, Option


class PickForm(forms.Form):
    agent = MultiSelectField(label="Agents", empty_label="All agents")


def drawn(query: str, *options: Option) -> str:
    form = PickForm(QueryDict(query))
    field = form.fields["agent"]
    assert isinstance(field, MultiSelectField)
    field.offer(options)
    return str(form["agent"])


def values(html: str) -> list[str]:
    return re.findall(r'type="checkbox" name="agent" value="([^"]*)"', html)


def test_what_is_chosen_is_shown_and_checked() -> None:
    options = [Option("b", "Bob", "1"), Option("a", "Ada", "2")]
    assert "<span>All agents</span>" in drawn("", *options)
    assert values(drawn("", *options)) == ["a", "b"]
    assert "<span>Bob</span>" in drawn("agent=b", *options)
    assert "<span>Bob and 1 more</span>" in drawn("agent=b&agent=a&agent=b&agent=", *options)
    assert drawn("agent=b", *options).count(" checked") == 1


def test_a_chosen_value_is_offered_even_if_it_is_unused() -> None:
    assert values(drawn("agent=gone", Option("a", "Ada"))) == ["a", "gone"]
    assert "None in this period" in drawn("")


def test_of_very_many_the_most_used_are_offered_and_what_is_chosen() -> None:
    options = [Option(f"{number:03}", f"{number:03}", weight=number) for number in range(600)]
    result = values(drawn("agent=007", *options))
    assert result == ["007", *(f"{number:03}" for number in range(101, 600))]
    assert "100 more with fewer runs" in drawn("agent=007", *options)


def test_a_long_list_can_be_searched() -> None:
    options = [Option(str(number), str(number)) for number in range(11)]
    assert 'aria-label="Search all agents"' in drawn("", *options)
    assert "data-search-options" not in drawn("", *options[1:])


def test_markup_in_names_is_only_text() -> None:
    html = drawn("", Option('"><script>', "<script>"))
    assert "<script>" not in html
