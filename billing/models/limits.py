"""Spend limits, their temporary overrides, threshold events and increase requests."""

from decimal import Decimal
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models

from billing.types import IncreaseState, LimitAction, LimitScope, LimitWindow, OverrideKind
from costtrack.fields import optional_money_field
from costtrack.money import DECIMALS, DIGITS, usd
from organizations.models import OrganizationScopedQuerySet
from organizations.tenant_models import TenantForeignKey, TenantModel

PAUSING = 100
"""The threshold at which a limit is reached, in percent."""


def _amount_field() -> "models.DecimalField[Decimal, Decimal]":
    return models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)


def default_thresholds() -> list[int]:
    return [80, 95, PAUSING]


class SpendLimitQuerySet(OrganizationScopedQuerySet["SpendLimit"]):
    def not_removed(self) -> Self:
        """Limits that have not been removed, including those that begin later or have ended."""
        return self.filter(removed_at=None)


class SpendLimit(TenantModel):
    """How much may be spent in a scope within a window.

    `scope_value` names what is limited: a Client ID, a user, a tag, ... If it is empty, the limit applies to every
    value of the scope separately (a per-value limit). The organization scope has no values.

    `is_plan` marks the limit of the organization's plan: admins may lower it and cannot remove it. The row of a removed
    limit stays, because threshold events reference it.
    """

    scope = models.CharField(max_length=16, choices=LimitScope)
    scope_value = models.CharField(max_length=255, blank=True, default="")
    window = models.CharField(max_length=16, choices=LimitWindow)
    amount_usd = _amount_field()
    soft_amount_usd = optional_money_field()
    action = models.CharField(max_length=8, choices=LimitAction, default=LimitAction.PAUSE)
    thresholds = ArrayField(models.PositiveSmallIntegerField(), default=default_thresholds)
    fallback_price = models.DecimalField(
        max_digits=DIGITS,
        decimal_places=DECIMALS,
        null=True,
        blank=True,
        help_text="USD per million tokens of models without a price. Empty: such calls are refused.",
    )
    cheaper_models = ArrayField(
        models.CharField(max_length=255),
        default=list,
        blank=True,
        help_text="Models to offer, in order, when a call does not fit. Empty: none.",
    )
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    is_plan = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(editable=False)
    removed_at = models.DateTimeField(null=True, editable=False)

    objects = SpendLimitQuerySet.as_manager()  # type: ignore[misc] # mypy takes it for a variable of instances

    class Meta:
        constraints = (
            models.CheckConstraint(condition=models.Q(amount_usd__gte=0), name="limit_not_negative"),
            models.UniqueConstraint(
                fields=("organization", "window"),
                name="limit_of_plan_once",
                condition=models.Q(is_plan=True, removed_at=None),
            ),
        )

    def __str__(self) -> str:
        scope = f"Each {self.scope}" if self.is_per_value else f"{self.get_scope_display()} {self.scope_value}".strip()
        return f"{scope}, {self.get_window_display().lower()}"

    @property
    def is_per_value(self) -> bool:
        """Whether the limit applies to every value of its scope separately."""
        return self.scope != LimitScope.ORGANIZATION.value and not self.scope_value


class LimitOverride(TenantModel):
    """A temporary override of a limit: another amount, or access that is manually paused or allowed.

    `value` is the value of a per-value limit that it applies to; empty means all of them.
    """

    limit = TenantForeignKey(SpendLimit, on_delete=models.PROTECT, related_name="overrides")
    value = models.CharField(max_length=255, blank=True, default="")
    kind = models.CharField(max_length=8, choices=OverrideKind)
    amount_usd = optional_money_field()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=255, blank=True)
    actor = models.CharField(max_length=254)

    class Meta:
        indexes = (
            models.Index(fields=("organization", "ends_at"), name="override_by_end"),
            models.Index(fields=("organization", "limit"), name="override_of_limit"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.value}".strip()


class LimitSetRevision(TenantModel):
    """Changes with an organization's limits, so that every process reloads them (`billing.limits.cache`)."""

    organization = models.OneToOneField(
        "organizations.Organization", on_delete=models.PROTECT, primary_key=True, related_name="+"
    )
    revision = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.revision)


class ThresholdEvent(TenantModel):
    """A threshold event: a limit's spend has reached a threshold (docs/decisions/018-threshold-events.md).

    `threshold` is in percent; 0 stands for the soft amount. `window_key` names the window: its beginning, or for
    rolling windows the time of this threshold event. It is open until spend is below the threshold again. At `PAUSING`
    percent of a limit that pauses access, it is the pause itself.
    """

    limit = TenantForeignKey(SpendLimit, on_delete=models.PROTECT, related_name="threshold_events")
    value = models.CharField(max_length=255, blank=True, default="")
    threshold = models.PositiveSmallIntegerField()
    window_key = models.CharField(max_length=40)
    amount_usd = _amount_field()
    spent_usd = _amount_field()
    reached_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)
    resets_at = models.DateTimeField(null=True)
    times = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "limit", "value", "threshold", "window_key", "amount_usd"),
                name="threshold_event_once",
            ),
            models.UniqueConstraint(
                fields=("organization", "limit", "value", "threshold"),
                name="threshold_event_open_once",
                condition=models.Q(resolved_at=None),
            ),
        )
        indexes = (models.Index(fields=("organization", "-reached_at", "-id"), name="threshold_event_by_time"),)

    def __str__(self) -> str:
        return f"{self.threshold}%"


class IncreaseRequest(TenantModel):
    """A member's request for a higher limit, which an owner approves until a date, or declines."""

    limit = TenantForeignKey(SpendLimit, on_delete=models.PROTECT, related_name="increase_requests")
    value = models.CharField(max_length=255, blank=True, default="")
    amount_usd = _amount_field()
    until = models.DateTimeField(null=True, help_text="Requested end. The owner decides.")
    reason = models.CharField(max_length=500)
    requested_by = models.CharField(max_length=254, help_text="E-mail address or Client ID.")
    requested_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=IncreaseState, default=IncreaseState.OPEN)
    answered_by = models.CharField(max_length=254, blank=True)
    answered_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=500, blank=True)
    granted = TenantForeignKey(LimitOverride, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "limit", "value", "requested_by"),
                name="increase_open_once",
                condition=models.Q(state="open"),
            ),
            models.UniqueConstraint(fields=("organization", "granted"), name="increase_granted_once"),
        )

    def __str__(self) -> str:
        return f"{self.limit}: {usd(self.amount_usd)}"
