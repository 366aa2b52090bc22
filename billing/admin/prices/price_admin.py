"""The admin of prices. An organization manages its own through the services; shared prices are read-only except for
operators."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.utils.html import format_html
from unfold.contrib.filters.admin import DropdownFilter
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.admin.components import formatting
from billing.admin.components.cards import Card, Detail, without_empty
from billing.admin.components.list_filters import ConditionFilter
from billing.admin.components.model_admins import CardsAdmin
from billing.admin.components.tables import column
from billing.admin.components.urls import admin_url
from billing.admin.prices.price_rows import OtherUnitPricesField, RowsField, TiersField
from billing.models import PriceVersion
from billing.models.prices import PriceVersionQuerySet
from billing.pricing.conditions import Condition, Rates
from billing.pricing.kinds import KINDS, PRICE_COLUMNS
from billing.pricing.price_fields import (
    OTHER_UNIT_PRICES,
    UNIT_PRICE_COLUMNS,
    check_names,
    check_period,
    check_rates,
    kind_prices_of,
    parse_other_unit_prices,
    parse_tiers,
)
from billing.pricing.services import create_price, end_price
from billing.reports.unpriced import MissedEvents, count_events_to_price, missed_events
from billing.types import PriceSource
from costtrack.clock import utc_now
from costtrack.date_fields import EndFormField, StartFormField, use_calendar
from costtrack.date_text import day_text
from costtrack.errors import InvalidError
from organizations.admin_actions import button, confirmed
from organizations.admin_request import request_user
from organizations.clock import zoned_time
from organizations.models import Organization
from organizations.permissions import PRICES


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    """Validates a new price; the service writes it. Only the end of an existing price can be changed."""

    effective_from = StartFormField(required=False, help_text="A date alone is its beginning. Empty: now.")
    effective_to = EndFormField(required=False, help_text="A date alone is included. Empty: no end.")
    other_unit_prices = OtherUnitPricesField(help_text="In US dollars per unit of the kind. Empty rows are left out.")
    tiers = TiersField(
        help_text="Prices of calls with more input tokens than a number, the lowest first. Prices that are empty stay "
        "those above. Other kinds are written as image_input: 10.00. Empty rows are left out."
    )

    class Meta:
        model = PriceVersion
        fields = (
            *("organization", "provider", "model", "aliases", "effective_from", "effective_to"),
            *UNIT_PRICE_COLUMNS,
            OTHER_UNIT_PRICES,
            "tiers",
        )
        labels = {column: formatting.KIND_LABELS[kind] for kind, column in PRICE_COLUMNS.items()}
        widgets = {"aliases": UnfoldAdminTextInputWidget()}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.organization is not None:
            use_calendar(self, self.instance.organization.calendar)

    def clean_organization(self) -> Organization | None:
        """Use the organization's time zone for the period, which is cleaned after this field."""
        organization: Organization | None = self.cleaned_data["organization"]
        if organization is not None:
            use_calendar(self, organization.calendar)
        return organization

    def clean_effective_from(self) -> datetime:
        effective_from: datetime | None = self.cleaned_data["effective_from"]
        return utc_now() if effective_from is None else effective_from

    def clean_effective_to(self) -> Any:
        effective_to = self.cleaned_data["effective_to"]
        if effective_to is None and self.initial.get("effective_to") is not None:
            raise ValidationError("An end can only be moved to an earlier time.")
        return effective_to

    def clean(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk is None and not self.errors:
            try:
                check_names(fields["provider"].strip(), fields["model"].strip(), fields["aliases"])
                check_rates(self.rates())
                check_period(fields["effective_from"], fields["effective_to"])
            except InvalidError as error:
                name = (error.param or "").split(".")[0]
                field = self.fields.get(name)
                self.add_error(name, field.error_text(error) if isinstance(field, RowsField) else error.message)
        return fields

    def rates(self) -> Rates:
        given = {kind: self.cleaned_data.get(column) for kind, column in PRICE_COLUMNS.items()}
        unit_prices = {kind: price for kind, price in given.items() if price is not None}
        others = parse_other_unit_prices(self.cleaned_data[OTHER_UNIT_PRICES])
        return Rates({**unit_prices, **others}, parse_tiers(self.cleaned_data["tiers"]))

    def _get_validation_exclusions(self) -> set[str]:
        """Skip the overlap constraint, because the service first ends the previous version."""
        names: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # the stubs lack it
        return {*names, "effective_from", "effective_to"}


class ProviderFilter(DropdownFilter):
    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        providers = model_admin.get_queryset(request).order_by("provider").values_list("provider", flat=True)
        return [(provider, provider) for provider in providers.distinct() if provider]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PriceVersion]) -> QuerySet[PriceVersion]:
        return queryset.filter(provider=self.value()) if self.value() else queryset


class CurrentPriceFilter(DropdownFilter):
    title = "time"
    parameter_name = "holds"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("now", "In force"), ("later", "Begins later"), ("ended", "Ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PriceVersion]) -> QuerySet[PriceVersion]:
        prices, now = cast("PriceVersionQuerySet", queryset), utc_now()
        match self.value():
            case "now":
                return prices.active_at(now)
            case "later":
                return prices.in_force().filter(effective_from__gt=now)
            case "ended":
                return prices.filter(effective_to__lte=now)
        return prices


_SET_BY = {
    PriceSource.CATALOGUE.value: "Catalog",
    PriceSource.LITELLM.value: "LiteLLM's map",
    PriceSource.OPENROUTER.value: "OpenRouter's list",
    PriceSource.MANUAL.value: "Manual",
}


def _owner(price: PriceVersion) -> str:
    return price.organization.name if price.organization is not None else "Everyone"


def _amount(amount: Decimal | None) -> str:
    return formatting.exact(amount) or formatting.NOTHING


@admin.register(PriceVersion)
class PriceVersionAdmin(CardsAdmin):
    resource = PRICES
    shows_shared_rows = True
    form = PriceForm
    list_display = ("model", "provider", "owner", "input_price", "output_price", "since", "until", "set_by")
    list_select_related = ("organization",)
    list_filter = (
        ConditionFilter.of(
            "owner",
            "owner",
            conditions=(
                ("own", "An organization", Q(organization__isnull=False)),
                ("everyone", "Everyone", Q(organization=None)),
            ),
        ),
        ProviderFilter,
        CurrentPriceFilter,
    )
    list_filter_submit = True
    list_per_page = 50
    actions_list = ("reprice_usage",)  # type: ignore[assignment]  # unfold declares an empty tuple
    actions_detail = ("new_from_this", "reprice_usage_of_model", "begin_earlier")  # type: ignore[assignment]  # unfold declares an empty tuple
    search_fields = ("model", "provider")
    search_help_text = "Part of the model's or the provider's name."
    ordering = (F("organization").asc(nulls_last=True), "provider", "model", "-effective_from", "-id")
    fieldsets = (
        (None, {"fields": ("organization", "provider", "model", "aliases")}),
        ("When", {"fields": ("effective_from", "effective_to")}),
        ("US dollars per million tokens", {"fields": [c for c in UNIT_PRICE_COLUMNS if c != "request_usd"]}),
        ("US dollars per request", {"fields": ("request_usd",)}),
        ("Other kinds of usage", {"fields": (OTHER_UNIT_PRICES,)}),
        ("Tiers", {"fields": ("tiers",)}),
    )

    change_hint = (
        "Unit prices cannot be changed, because the ledger refers to them. To change the price, add a new one: this "
        "price ends when the new one begins. To end this price without a new one, set its end."
    )

    # --- A price with the values of another one ---------------------------------------------------------------------

    def has_copy_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request)

    @button("New price from this one", icon="content_copy", permission="copy")
    def new_from_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Open the form of a new price, filled in with this one's names and unit prices."""
        price: PriceVersion = self.get_queryset(request).get(pk=object_id)
        return HttpResponseRedirect(admin_url("billing_priceversion_add", from_price=price.pk))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial = super().get_changeform_initial_data(request)
        given = str(initial.pop("from_price", ""))
        is_id = given.isascii() and given.isdecimal() and len(given) < 19  # noqa: PLR2004 - digits of a bigint
        price = self.get_queryset(request).filter(pk=int(given)).first() if is_id else None
        if price is None:
            return initial
        names = ("provider", "model", "aliases", *UNIT_PRICE_COLUMNS, OTHER_UNIT_PRICES, "tiers")
        return {**{name: getattr(price, name) for name in names}, **initial}

    # --- Repricing usage ------------------------------------------------------------------------------------------

    def has_reprice_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow users who manage any organization, regardless of who has set the price."""
        return self.has_manage_permission(request)

    @button("Reprice usage", icon="currency_exchange", permission="reprice")
    def reprice_usage(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(admin_url("billing_repricing_add"))

    @button("Reprice usage", icon="currency_exchange", permission="reprice")
    def reprice_usage_of_model(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Open the repricing form, filled in for the price."""
        price: PriceVersion = self.get_queryset(request).get(pk=object_id)
        return HttpResponseRedirect(admin_url("billing_repricing_add", **_usage_of(price)))

    # --- Unpriced events that a price misses ---------------------------------------------------------------------

    def available_actions(self, request: HttpRequest, row: PriceVersion) -> tuple[str, ...]:
        earlier = ["begin_earlier"] if missed_events(row).first_at is not None else ()
        return ("new_from_this", "reprice_usage_of_model", *earlier)

    @confirmed(
        "Begin earlier",
        icon="history",
        title="Price earlier events too",
        text="A price with the same terms is added. It begins with the first unpriced event and ends where this price "
        "begins. The events are then priced.",
    )
    def begin_earlier(self, request: HttpRequest, price: PriceVersion) -> HttpResponse | str:
        missed = missed_events(price)
        if missed.first_at is None:
            return "No unpriced event of this model occurred before this price begins."
        rates = kind_prices_of(price).rates
        create_price(
            organization=price.organization,
            provider=price.provider,
            model=price.model,
            aliases=price.aliases,
            rates=rates,
            effective_from=missed.first_at,
            effective_to=price.effective_from,
            actor=request_user(request).email,
        )
        return f"The same price was added since {_first_at(missed)}. {_events(missed)} will be priced."

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Show a price that misses unpriced events, with the offer to begin earlier."""
        response = super().response_add(request, obj, post_url_continue)
        if number := count_events_to_price(obj):
            calls = "1 call" if number == 1 else f"{formatting.count(number)} calls"
            messages.info(request, f"{calls} without a price will be priced in a few seconds.")
        return HttpResponseRedirect(self.page_url(obj)) if missed_events(obj).first_at is not None else response

    def _missed_card(self, request: HttpRequest, price: PriceVersion) -> list[Card]:
        missed = missed_events(price)
        if missed.first_at is None:
            return []
        offer = ""
        if self.has_manage_permission(request, price):
            offer = format_html(
                '<form method="post" action="{}"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
                '<button class="ct-button ct-primary" type="submit">Begin on {} instead</button></form>',
                admin_url("billing_priceversion_begin_earlier", price.pk),
                get_token(request),
                day_text(missed.first_at.astimezone(UTC)),
            )
        text = f"{_events(missed)} occurred before this price begins, the first at {_first_at(missed)}."
        return [Card("Unpriced events before this price", text=text, body=offer)]

    # --- Columns -----------------------------------------------------------------------------------------------

    owner = column(PriceVersion, "Owner", _owner)
    input_price = column(PriceVersion, "Input / million", lambda row: _amount(row.input_usd_per_million))
    output_price = column(PriceVersion, "Output / million", lambda row: _amount(row.output_usd_per_million))
    since = column(PriceVersion, "Since", lambda row: formatting.price_since(row) or "Always", order="effective_from")
    until = column(
        PriceVersion, "Until", lambda row: formatting.price_until(row) or formatting.NOTHING, order="effective_to"
    )
    set_by = column(PriceVersion, "Set by", lambda row: _SET_BY[row.source])

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return all fields for a new price, and only the end for an existing one."""
        return self.fieldsets if obj is None else ((None, {"fields": ("effective_to",)}),)

    def cards(self, request: HttpRequest, row: PriceVersion) -> list[Card]:
        prices = kind_prices_of(row)
        return [
            *self._missed_card(request, row),
            Card("Price", details=without_empty(_details(row))),
            Card("Unit prices", details=_formatted(prices.rates.unit_prices)),
            *(
                Card(f"Prompts of more than {formatting.count(above)} tokens", details=_formatted(unit_prices))
                for above, unit_prices in prices.rates.tiers
            ),
            *(Card(_condition_title(condition), details=_effect(condition)) for condition in prices.conditions),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: PriceVersion | None = None) -> tuple[str, ...]:
        """Unit prices never change: a new price is a new version."""
        if obj is None:
            return ()
        return tuple(name for name in PriceForm.Meta.fields if name != "effective_to")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        actor = request_user(request).email
        if not change:
            created = create_price(
                organization=obj.organization,
                provider=obj.provider,
                model=obj.model,
                aliases=obj.aliases,
                rates=form.rates(),
                effective_from=obj.effective_from,
                effective_to=obj.effective_to,
                actor=actor,
            )
            obj.pk = created.pk  # for the response and the admin log
        elif "effective_to" in form.changed_data and obj.effective_to is not None:
            end_price(organization=obj.organization, price=obj, effective_to=obj.effective_to, actor=actor)


def _usage_of(price: PriceVersion) -> dict[str, str]:
    """Return the repricing form's parameters for a price. The model is omitted if calls may name it differently."""
    given = {"end": min(price.effective_to or utc_now(), utc_now()).isoformat(timespec="minutes")}
    if formatting.price_since(price):
        given["start"] = price.effective_from.isoformat(timespec="minutes")
    if price.organization_id is not None:
        given["organization"] = str(price.organization_id)
    if not price.aliases and "*" not in price.model:
        given["model"] = price.model
    return given


def _first_at(missed: MissedEvents) -> str:
    return zoned_time(missed.first_at) if missed.first_at is not None else ""


def _events(missed: MissedEvents) -> str:
    return f"{formatting.count(missed.events)} unpriced event{'' if missed.events == 1 else 's'} of this model"


def _details(price: PriceVersion) -> list[tuple[str, str]]:
    return [
        ("Model", price.model),
        ("Provider", price.provider or "Any"),
        ("Other names", ", ".join(price.aliases)),
        ("Applies to", _owner(price)),
        ("Since", formatting.price_since(price) or "Always"),
        ("Until", formatting.price_until(price) or "No end"),
        ("Set by", price.get_source_display()),
    ]


def _formatted(unit_prices: Mapping[str, Decimal]) -> list[Detail]:
    return [
        (formatting.KIND_LABELS[kind], formatting.unit_price(kind, unit_prices[kind]))
        for kind in KINDS
        if kind in unit_prices
    ]


def _condition_title(condition: Condition) -> str:
    """Return which calls a condition is for, for example `Service tier: batch`."""
    values = f"{', '.join(condition.values)} UTC" if condition.hours is not None else ", ".join(condition.values)
    since = f", since {condition.starts}" if condition.starts is not None else ""
    return f"{condition.attribute.replace('_', ' ').capitalize()}: {values}{since}"


def _effect(condition: Condition) -> list[Detail]:
    if condition.rates is not None:
        return _formatted(condition.rates.unit_prices)
    return [("Factor", f"{float(condition.factor):g}" if condition.factor is not None else "The price is not known")]
