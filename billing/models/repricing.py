"""Repricings of a period at current prices."""

from decimal import Decimal
from typing import Self

from django.db import models

from billing.types import RepricingState
from costtrack.date_text import time_text
from costtrack.fields import total_field
from organizations.tenant_models import OrganizationScopedQuerySet, TenantModel


class RepricingQuerySet(OrganizationScopedQuerySet["Repricing"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=[state.value for state in RepricingState if not state.is_final])


class Repricing(TenantModel):
    """One pass over the model calls of a period, in steps. Each step stores its position and figures in its
    transaction, so another worker can continue. A dry run only counts.

    `by_model` is a list of `{"service", "model", "events", "changed", "left_alone", "old_usd", "new_usd"}`, the amounts
    as decimal strings: the figures of the columns, for each model.
    """

    created_at = models.DateTimeField(editable=False)
    actor = models.CharField(max_length=254, editable=False, help_text="Email address, Client ID, or 'system'.")
    reason = models.CharField(max_length=255, blank=True)
    dry_run = models.BooleanField(default=True, editable=False)

    # Which events: those that occurred in [start, end), of one service or model if it is named.
    start = models.DateTimeField()
    end = models.DateTimeField()
    service = models.CharField(max_length=255, blank=True)
    model = models.CharField(max_length=255, blank=True)

    # Progress: the last event that was examined.
    state = models.CharField(max_length=8, choices=RepricingState, default=RepricingState.QUEUED.value, editable=False)
    touched_at = models.DateTimeField(editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    total = models.PositiveBigIntegerField(null=True, editable=False)
    last_occurred_at = models.DateTimeField(null=True, editable=False)
    last_event_id = models.UUIDField(null=True, editable=False)

    # Results: the number of repriced events, of those that changed, and of those that were skipped.
    events = models.PositiveBigIntegerField(default=0, editable=False)
    changed = models.PositiveBigIntegerField(default=0, editable=False)
    left_alone = models.PositiveBigIntegerField(default=0, editable=False)
    old_usd = total_field()
    new_usd = total_field()
    by_model = models.JSONField(default=list, editable=False)

    objects = RepricingQuerySet.as_manager()  # type: ignore[misc] # mypy takes it for a variable of instances

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("organization",),
                name="repricing_one_at_a_time",
                condition=models.Q(dry_run=False, state__in=("queued", "running")),
            ),
        )

    def __str__(self) -> str:
        subject = self.model or self.service or "all models"
        zone = self.organization.calendar.zone
        return f"{subject}, {time_text(self.start, zone)} to {time_text(self.end, zone)}"

    @property
    def is_finished(self) -> bool:
        return RepricingState(self.state).is_final

    @property
    def processed(self) -> int:
        return self.events + self.left_alone

    @property
    def difference_usd(self) -> Decimal:
        return self.new_usd - self.old_usd
