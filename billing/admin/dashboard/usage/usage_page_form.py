"""The filters of the usage page, with what its chart shows and how."""

from django import forms

from billing.admin.components.form_fields import FilterChoiceField
from billing.admin.components.usage_form import MORE_FILTERS, STACKS, UsageForm
from costtrack.calendar import Unit

GRANULARITIES = (("", "Auto"), *((unit.value, unit.value.capitalize()) for unit in Unit))
CUMULATIVE = "1"


class UsagePageForm(UsageForm):
    group_by = FilterChoiceField(required=False, choices=STACKS, label="Group by")
    granularity = forms.ChoiceField(required=False, choices=GRANULARITIES, widget=forms.HiddenInput)
    cumulative = forms.ChoiceField(
        required=False, choices=(("", "Per period"), (CUMULATIVE, "Cumulative")), widget=forms.HiddenInput
    )

    field_order = ("organization", "range", "start_date", "end_date", "model", "group_by")
    _MORE = ("client_id", "capability", "status", *MORE_FILTERS)

    @property
    def basic_fields(self) -> list[forms.BoundField]:
        return [field for field in self.visible_fields() if field.name not in self._MORE]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self._MORE]

    @property
    def unit(self) -> Unit | None:
        """The chosen granularity; None if it depends on the period."""
        chosen = self.cleaned_data.get("granularity")
        return Unit(chosen) if chosen else None

    @property
    def is_cumulative(self) -> bool:
        return self.cleaned_data.get("cumulative") == CUMULATIVE
