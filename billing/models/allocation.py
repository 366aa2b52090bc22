"""Rules that split shared cost."""

from django.db import models

from billing.types import AllocationTarget, SplitMeasure, SplitMethod
from costtrack.fields import dimension_field
from organizations.tenant_models import TenantModel


class AllocationRule(TenantModel):
    """A version of a rule that splits shared cost. Rows never change: a new version applies from a later month on.

    The versions of a rule have the same `target`, `tag_prefix` and `name`. Of those that have started, the one with the
    latest month applies, and of the same month the one that was stored last. A version that `is_ended` ends the rule.

    `source` has the filters of the usage that is split, lists of values by the name of the parameter; an empty value is
    usage without one. `targets` are the names that get a share, with their percentages if the shares are fixed; empty:
    all that have usage. Several rules about the same usage: the one with the lowest `position` applies.
    """

    target = models.CharField(max_length=16, choices=AllocationTarget)
    tag_prefix = dimension_field()
    name = models.CharField(max_length=100)
    starts = models.DateField(help_text="First day of a month.")
    is_ended = models.BooleanField(default=False)
    position = models.PositiveIntegerField(default=1)
    source = models.JSONField(default=dict)
    without_target_only = models.BooleanField(default=True)
    method = models.CharField(max_length=16, choices=SplitMethod)
    measure = models.CharField(max_length=16, choices=SplitMeasure, blank=True)
    measures_source = models.BooleanField(default=False)
    targets = models.JSONField(default=dict)
    actor = models.CharField(max_length=254)
    created_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(
                fields=("organization", "target", "tag_prefix", "name", "-starts", "-id"), name="rule_versions"
            ),
        )

    def __str__(self) -> str:
        return self.name
