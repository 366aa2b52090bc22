"""A filter with several values: a list of checkboxes below a button."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

_MAX_OPTIONS = 500
_MAX_WITHOUT_SEARCH = 10
_MAX_LENGTH = 600


@dataclass(frozen=True, slots=True)
class Option:
    """`weight` decides which options are shown if there are too many; `note` is shown at the end of the line."""

    value: str
    label: str
    note: str = ""
    weight: int = 0


class MultiSelect(forms.SelectMultiple):
    """Shows `offers`, and always the chosen values."""

    offers: Sequence[Option] = ()

    def __init__(self, empty_label: str) -> None:
        super().__init__()
        self.empty_label = empty_label

    def id_for_label(self, id_: str, index: str | None = None) -> str:
        return f"{id_}_button"

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = _unique(value or ())
        names = {option.value: option.label for option in self.offers}
        offered = self._offered(set(chosen))
        context = {
            "name": name,
            "id": f"id_{name}_button",
            "summary": self._summary(chosen, names),
            "options": [(option, option.value in chosen) for option in offered],
            "is_searchable": len(offered) > _MAX_WITHOUT_SEARCH,
            "left_out": max(len(self.offers) - len(offered), 0),
            "what": self.empty_label,
        }
        return render_to_string("admin/dashboard/multi_select.html", context)

    def _offered(self, chosen: set[str]) -> list[Option]:
        known = {option.value for option in self.offers}
        heaviest = sorted(self.offers, key=lambda option: (option.value not in chosen, -option.weight))
        shown = [*heaviest[:_MAX_OPTIONS], *(Option(value, value) for value in chosen - known)]
        return sorted(shown, key=lambda option: (option.label.lower(), option.value))

    def _summary(self, chosen: Sequence[str], names: dict[str, str]) -> str:
        if not chosen:
            return self.empty_label
        first = names.get(chosen[0], chosen[0])
        return first if len(chosen) == 1 else f"{first} and {len(chosen) - 1} more"


class MultiSelectField(forms.MultipleChoiceField):
    """Accepts any values; unknown ones match no usage."""

    widget: MultiSelect

    def __init__(self, *, label: str, empty_label: str) -> None:
        super().__init__(required=False, label=label, widget=MultiSelect(empty_label))

    def to_python(self, value: Any) -> list[str]:
        return _unique(super().to_python(value))

    def validate(self, value: Sequence[str]) -> None:
        if any("\0" in unquote(choice) or len(choice) > _MAX_LENGTH for choice in value):  # also when URL-escaped
            raise forms.ValidationError("Invalid value.")

    def offer(self, options: Iterable[Option]) -> None:
        self.widget.offers = tuple(options)


def _unique(values: Iterable[object]) -> list[str]:
    """Drop duplicates and empty values."""
    return list(dict.fromkeys(str(value) for value in values if value))
