"""A filter of which several values can be chosen: a list of checkboxes that opens below a button."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

_MAX_OPTIONS = 200
_MAX_LENGTH = 600


@dataclass(frozen=True, slots=True)
class Option:
    """`weight` decides which are offered if there are too many; `beside` stands at the end of the line."""

    value: str
    label: str
    beside: str = ""
    weight: int = 0


class MultiSelect(forms.SelectMultiple):
    """`offers` are shown; what is chosen already is always among them."""

    offers: Sequence[Option] = ()

    def __init__(self, of_all: str) -> None:
        super().__init__()
        self.of_all = of_all

    def id_for_label(self, id_: str, index: str | None = None) -> str:
        return f"{id_}_button"

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = _told(value or ())
        names = {option.value: option.label for option in self.offers}
        offered = self._offered(set(chosen))
        context = {
            "name": name,
            "id": f"id_{name}_button",
            "summary": self._summary(chosen, names),
            "options": [(option, option.value in chosen) for option in offered],
            "left_out": max(len(self.offers) - len(offered), 0),
            "what": self.of_all,
        }
        return render_to_string("admin/dashboard/pick.html", context)

    def _offered(self, chosen: set[str]) -> list[Option]:
        known = {option.value for option in self.offers}
        heaviest = sorted(self.offers, key=lambda option: (option.value not in chosen, -option.weight))
        shown = [*heaviest[:_MAX_OPTIONS], *(Option(value, value) for value in chosen - known)]
        return sorted(shown, key=lambda option: (option.label.lower(), option.value))

    def _summary(self, chosen: Sequence[str], names: dict[str, str]) -> str:
        if not chosen:
            return self.of_all
        first = names.get(chosen[0], chosen[0])
        return first if len(chosen) == 1 else f"{first} and {len(chosen) - 1} more"


class MultiSelectField(forms.MultipleChoiceField):
    """Any values, known or not: what nobody has used has cost nothing."""

    widget: MultiSelect

    def __init__(self, *, label: str, of_all: str) -> None:
        super().__init__(required=False, label=label, widget=MultiSelect(of_all))

    def to_python(self, value: Any) -> list[str]:
        return _told(super().to_python(value))

    def validate(self, value: Sequence[str]) -> None:
        if any("\0" in unquote(one) or len(one) > _MAX_LENGTH for one in value):  # also as what is escaped in it
            raise forms.ValidationError("Nothing has such a name.")

    def offer(self, options: Iterable[Option]) -> None:
        self.widget.offers = tuple(options)


def _told(values: Iterable[object]) -> list[str]:
    """Each once; an empty one says nothing."""
    return list(dict.fromkeys(str(value) for value in values if value))
