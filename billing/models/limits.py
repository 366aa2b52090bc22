"""Spend limits, their temporary overrides, threshold events and increase requests."""

from decimal import Decimal
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models

from billing.types import IncreaseState, LimitAction, LimitScope, LimitUnit, LimitWindow, MissingValue, OverrideKind
from costtrack.fields import optional_money_field
from costtrack.money import DECIMALS, DIGITS, usd
from organizations.tenant_models import OrganizationScopedQuerySet, TenantForeignKey, TenantModel

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
    value of the scope separately (a per-value limit). The organization scope has no values. `further_scopes` and
    `further_values` are further conditions that a call must meet, each for one value or, if it is empty, for every
    value separately. `compiled_conditions` are all conditions of a limit with rollup rows of its own
    (`billing.limits.conditions`), and empty for another one.

    `members` are the values of the scope that a per-value limit applies to, such as the users of a group; empty: all
    values. `member_amounts` has other amounts for some of them (as texts). `missing` says what happens to calls without
    a value of the scope.

    `amount_usd` and `soft_amount_usd` are in the limit's `unit`.

    `is_plan` marks the limit of the organization's plan: admins may lower it and cannot remove it. The row of a removed
    limit stays, because threshold events reference it.
    """

    scope = models.CharField(max_length=16, choices=LimitScope)
    scope_value = models.CharField(max_length=255, blank=True, default="")
    further_scopes = ArrayField(models.CharField(max_length=16, choices=LimitScope), default=list)
    further_values = ArrayField(models.CharField(max_length=255, blank=True), default=list)
    compiled_conditions = ArrayField(models.CharField(max_length=512, null=True), default=list, editable=False)
    members = ArrayField(models.CharField(max_length=255), default=list)
    member_amounts = models.JSONField(default=dict)
    missing = models.CharField(max_length=8, choices=MissingValue, default=MissingValue.ALLOW)
    default_value = models.CharField(max_length=255, blank=True, default="")
    window = models.CharField(max_length=16, choices=LimitWindow)
    month_day = models.PositiveSmallIntegerField(default=1)
    unit = models.CharField(max_length=8, choices=LimitUnit, default=LimitUnit.USD)
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
        named = [(self.get_scope_display(), self.scope_value)]
        named += [
            (LimitScope(scope).label, value)
            for scope, value in zip(self.further_scopes, self.further_values, strict=True)
        ]
        is_organization = self.scope == LimitScope.ORGANIZATION.value
        texts = [
            f"{label} {value}".strip() if value or (is_organization and not index) else f"Each {label.lower()}"
            for index, (label, value) in enumerate(named)
        ]
        return f"{', '.join(texts)}, {self.get_window_display().lower()}"

    @property
    def is_per_value(self) -> bool:
        """Whether the limit applies to every value of a scope separately."""
        is_each = self.scope != LimitScope.ORGANIZATION.value and not self.scope_value
        return is_each or "" in self.further_values

    @property
    def rows_scope(self) -> str:
        """The scope of the limit's rollup rows: its own, or the limit's."""
        return f"#{self.pk}" if self.compiled_conditions else self.scope


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
    requested_by = models.CharField(max_length=254, help_text="Email address or Client ID.")
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
