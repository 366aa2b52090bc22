"""Form fields for a set of usage (`billing.reports.usage.sources`): lists of values, one for each parameter."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.reports.usage.sources import TAG

_NONE = "(none)"
_LABELS = {
    "client_id": "API credentials (Client IDs)",
    "model": "Models",
    "provider": "Providers",
    "service": "Services",
    "capability": "Capabilities",
    "agent_id": "Agents",
    "environment": "Environments",
    "user_id": "Users",
    "team": "Teams",
    "end_user": "End users",
    TAG: "Tags",
}
_HELP = f"Separated by commas; {_NONE}: usage without one."


class NamesField(forms.CharField):
    """Names that are separated by commas; `(none)` is usage without one."""

    def __init__(self, label: str, help_text: str = "") -> None:
        super().__init__(label=label, required=False, widget=UnfoldAdminTextInputWidget(), help_text=help_text)

    def to_python(self, value: Any) -> Any:
        names = [name.strip() for name in (super().to_python(value) or "").split(",")]
        return ["" if name == _NONE else name for name in names if name]

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(name or _NONE for name in value) if isinstance(value, list) else value


def add_source_fields(form: forms.Form) -> None:
    for number, (name, label) in enumerate(_LABELS.items()):
        form.fields[name] = NamesField(label, help_text="" if number else _HELP)


def source_fields(form: forms.Form) -> list[forms.BoundField]:
    return [form[name] for name in _LABELS]


def other_fields(form: forms.Form) -> list[forms.BoundField]:
    return [field for field in form if field.name not in _LABELS]


def source_in(cleaned: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the lists of a valid form that are not empty."""
    return {name: cleaned[name] for name in _LABELS if cleaned[name]}


def source_text(values: Mapping[str, Sequence[str]]) -> str:
    """Return the set in words: `model claude or gpt-4o, team core`; empty for all usage."""
    return ", ".join(
        f"{name.replace('_', ' ')} {' or '.join(value or _NONE for value in names)}"
        for name, names in values.items()
        if names
    )
