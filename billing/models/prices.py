"""Prices of models."""

from datetime import date, datetime
from decimal import Decimal
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models

from billing.types import PriceSource
from costtrack.clock import MICROSECOND
from organizations.tenant_models import OrganizationScopedQuerySet, TenantModel


def _unit_price(**options: str) -> "models.DecimalField[Decimal | None, Decimal | None]":
    return models.DecimalField(max_digits=24, decimal_places=12, null=True, blank=True, **options)  # type: ignore[arg-type]


class PriceVersionQuerySet(OrganizationScopedQuerySet["PriceVersion"]):
    def catalog(self) -> Self:
        """Return the prices that apply to all organizations."""
        return self.filter(organization=None)

    def visible_to(self, organization_ids: list[int]) -> Self:
        """Return the prices of these organizations, and those that apply to all."""
        return self.filter(models.Q(organization=None) | models.Q(organization__in=organization_ids))

    def in_force(self) -> Self:
        """Exclude withdrawn versions, which end at the time at which they begin."""
        return self.exclude(effective_to=models.F("effective_from"))

    def active_at(self, instant: datetime) -> Self:
        ends_later = models.Q(effective_to=None) | models.Q(effective_to__gt=instant)
        return self.filter(ends_later, effective_from__lte=instant)


class PriceVersion(models.Model):
    """Unit prices of one model from `effective_from` until `effective_to` (exclusive; empty means no end).

    Without an organization the price applies to everyone; an organization's own price takes precedence. Unit prices
    never change: a new price ends the old version and begins another one, so the cost of a ledger row can always be
    explained by its version. A version that ends where it begins was withdrawn: it is never in effect, and another one
    may begin at the same time.

    The frequent kinds of usage (`billing.pricing.kinds`) have columns, `other_unit_prices` has the others by kind.
    `conditions` change the unit prices of calls with a certain service tier, speed or region, or at certain hours
    (`billing.pricing.kind_prices_json`).

    `tiers` is a list of `{"above_input_tokens": 200000, "<unit price field>": "6.00", ...}`: above that many input
    tokens (including caches) the entire call is charged at the tier's unit prices, where it names them.
    """

    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="prices", null=True, blank=True
    )
    provider = models.CharField(
        max_length=64, blank=True, help_text="The provider of the model, for example openai. Empty: any provider."
    )
    model = models.CharField(max_length=255)
    aliases = ArrayField(
        models.CharField(max_length=255),
        default=list,
        blank=True,
        help_text="Other names of the model in calls. A * matches any characters.",
    )
    input_usd_per_million = _unit_price()
    output_usd_per_million = _unit_price()
    cache_read_usd_per_million = _unit_price(
        help_text="Empty: as the vendor documents, else charged as input and flagged."
    )
    cache_creation_usd_per_million = _unit_price(
        help_text="5-minute cache writes. Empty: as the vendor documents, else charged as input and flagged."
    )
    cache_creation_1h_usd_per_million = _unit_price(
        help_text="1-hour cache writes. Empty: as the vendor documents, else as 5-minute ones and flagged."
    )
    reasoning_usd_per_million = _unit_price(help_text="Empty: reasoning is charged as output.")
    audio_input_usd_per_million = _unit_price(help_text="Empty: the cost of audio input is unknown.")
    audio_output_usd_per_million = _unit_price(help_text="Empty: the cost of audio output is unknown.")
    request_usd = _unit_price(help_text="Charged once for each call.")
    other_unit_prices = models.JSONField(default=dict, blank=True)
    tiers = models.JSONField(default=list, blank=True)
    conditions = models.JSONField(default=list, blank=True, editable=False)
    effective_from = models.DateTimeField()
    effective_to = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=16, choices=PriceSource, default=PriceSource.MANUAL, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PriceVersionQuerySet.as_manager()

    class Meta:
        verbose_name = "price"
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "provider", "model", "effective_from", "source"),
                name="price_version_once",
                condition=models.Q(effective_to=None) | ~models.Q(effective_to=models.F("effective_from")),
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=models.Q(effective_to=None) | models.Q(effective_to__gte=models.F("effective_from")),
                name="price_version_ends_after_it_begins",
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}" if self.provider else self.model


class Agreement(TenantModel):
    """An organization's terms with a provider: a discount, or separate unit prices by kind.

    It covers calls whose model matches one of `model_patterns` from `starts_at` until before `ends_at`, which are the
    beginnings of days of the organization. Terms never change: an agreement is ended, and another one begins.
    """

    provider = models.CharField(
        max_length=64, help_text="Who bills the calls, for example openai, azure or aws. A * means any provider."
    )
    model_patterns = ArrayField(
        models.CharField(max_length=255),
        default=list,
        blank=True,
        help_text="Names of models of the catalog. A * matches any characters. Empty: every model.",
    )
    discount_percent = models.DecimalField(max_digits=9, decimal_places=6, default=Decimal(0))
    kinds = ArrayField(
        models.CharField(max_length=32),
        default=list,
        blank=True,
        help_text="The kinds of usage that the discount is for. Empty: all.",
    )
    unit_prices = models.JSONField(default=dict, blank=True, help_text="US dollars by kind, instead of the list's.")
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    @property
    def starts(self) -> date | None:
        """The first day with the terms, in the time zone of the organization."""
        return None if self.starts_at is None else self.organization.calendar.date_of(self.starts_at)

    @property
    def ends(self) -> date | None:
        """The last day with the terms."""
        return None if self.ends_at is None else self.organization.calendar.date_of(self.ends_at - MICROSECOND)

    def __str__(self) -> str:
        return f"{self.provider}, {self.discount_percent.normalize():f}%" if self.discount_percent else self.provider


class PriceBookRevision(models.Model):
    """Changes with an organization's prices (or everyone's), so that processes detect outdated price books.

    `revision` is a random number, because a counter would repeat a value that was rolled back.
    """

    organization = models.OneToOneField("organizations.Organization", on_delete=models.CASCADE, null=True)
    revision = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("organization",), name="price_revision_once", nulls_distinct=False),
        )

    def __str__(self) -> str:
        return str(self.revision)
