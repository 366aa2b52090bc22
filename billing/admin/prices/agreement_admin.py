"""The admin of agreements. Their terms never change: one is ended, and another one begins."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, shown_organization
from billing.admin.components.tables import column
from billing.models import Agreement
from billing.pricing.agreement_services import AgreementTerms, check_terms, create_agreement, end_agreement
from billing.pricing.kind_prices_json import prices_as_json, prices_from_json
from billing.pricing.kinds import KINDS
from billing.pricing.price_fields import parse_unit_prices
from costtrack.clock import DAY
from costtrack.errors import InvalidError
from costtrack.money import plain
from organizations.admin_request import request_user
from organizations.permissions import PRICES

_TERMS = ("provider", "model_patterns", "discount_percent", "kinds", "unit_prices", "starts", "ends")
_DAYS = ("starts", "ends")


class AgreementForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    """Validates a new agreement; the service writes it. Only the end of an existing one can be changed."""

    kinds = forms.MultipleChoiceField(
        choices=list(formatting.KIND_LABELS.items()),
        required=False,
        label="Discount for",
        widget=UnfoldAdminSelectMultipleWidget,
        help_text="The kinds of usage that the discount is for. None selected: all.",
    )

    starts = forms.DateField(
        required=False,
        widget=UnfoldAdminDateWidget,
        help_text="The first day with the terms, in the organization's time zone. Empty: always.",
    )
    ends = forms.DateField(
        required=False, widget=UnfoldAdminDateWidget, help_text="The last day with the terms. Empty: no end."
    )

    class Meta:
        model = Agreement
        fields = ("organization", *(name for name in _TERMS if name not in _DAYS))
        labels = {"model_patterns": "Models", "discount_percent": "Discount in percent"}
        widgets = {
            "model_patterns": UnfoldAdminTextInputWidget(attrs={"placeholder": "gpt-5*, gpt-4o"}),
            "unit_prices": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        }
        help_texts = {
            "model_patterns": "Names of models of the catalog, separated by commas. A * matches any characters. "
            "Empty: every model.",
            "unit_prices": 'US dollars by kind of usage instead of the list\'s, for example {"input": "2.00", '
            '"output": "8.00"} per million tokens. Kinds without one get the discount.',
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk is not None:
            self.initial["ends"] = self.instance.ends

    def clean(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk is None and not self.errors:
            try:
                check_terms(_terms(fields))
            except InvalidError as error:
                self.add_error((error.param or "").split(".")[0], error.message)
        return fields

    def clean_ends(self) -> date | None:
        ends: date | None = self.cleaned_data["ends"]
        if self.instance.pk is None:
            return ends
        starts, ends_already = self.instance.starts, self.initial["ends"]
        if ends is None:
            raise ValidationError("Enter the last day with the terms.")
        if ends_already is not None and ends > ends_already:
            raise ValidationError(f"The agreement has ended at {ends_already}. An end can only move to an earlier day.")
        if starts is not None and ends < starts - DAY:
            raise ValidationError(f"The agreement begins at {starts}.")
        return ends

    def clean_unit_prices(self) -> dict[str, str]:
        try:
            return prices_as_json(parse_unit_prices(self.cleaned_data["unit_prices"] or {}, "unit_prices"))
        except InvalidError as error:
            raise ValidationError(error.message) from None


def _terms(fields: Mapping[str, Any]) -> AgreementTerms:
    """Return the terms of a form's valid fields."""
    given = {name: fields[name] for name in _TERMS}
    return AgreementTerms(**{**given, "unit_prices": prices_from_json(given["unit_prices"])})


def _models(agreement: Agreement) -> str:
    return ", ".join(agreement.model_patterns) or "All"


def _discount(agreement: Agreement) -> str:
    return f"{plain(agreement.discount_percent)}%" if agreement.discount_percent else formatting.NOTHING


@admin.register(Agreement)
class AgreementAdmin(SingleOrganizationAdmin):
    resource = PRICES
    form = AgreementForm
    list_display = ("provider", "for_models", "discount", "since", "until")
    list_filter = (OrganizationFilter,)
    ordering = ("id",)
    change_heading = "End the agreement"
    empty_title = "No agreements yet"
    empty_text = (
        "An agreement is a discount or separate unit prices that you negotiated with a provider. It applies to "
        "computed costs and estimates, not to costs that a provider bills."
    )

    for_models = column(Agreement, "Models", _models)
    discount = column(Agreement, "Discount", _discount)
    since = column(Agreement, "Since", lambda row: str(row.starts or "Always"))
    until = column(Agreement, "Until", lambda row: str(row.ends or formatting.NOTHING))

    def get_fields(self, request: HttpRequest, obj: Agreement | None = None) -> tuple[str, ...]:
        return ("organization", *_TERMS) if obj is None else ("ends",)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"organization": shown_organization(request), **super().get_changeform_initial_data(request)}

    def cards(self, request: HttpRequest, row: Agreement) -> list[Card]:
        terms = [
            ("Provider", row.provider),
            ("Models", _models(row)),
            ("Discount", _discount(row)),
            ("Discount for", ", ".join(formatting.KIND_LABELS[kind] for kind in row.kinds if kind in KINDS)),
            ("Since", str(row.starts or "Always")),
            ("Until", str(row.ends or "No end")),
        ]
        prices = [
            (formatting.KIND_LABELS[kind], formatting.unit_price(kind, price))
            for kind, price in prices_from_json(row.unit_prices).items()
            if kind in KINDS
        ]
        return [
            Card("Agreement", details=without_empty(terms)),
            *([Card("Unit prices", details=prices)] if prices else []),
        ]

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        actor = request_user(request).email
        if not change:
            obj.pk = create_agreement(organization=obj.organization, terms=_terms(form.cleaned_data), actor=actor).pk
        else:
            end_agreement(organization=obj.organization, agreement=obj, ends=form.cleaned_data["ends"], actor=actor)
