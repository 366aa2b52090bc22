"""Base classes of the rollups, with the columns that they sum."""

from django.db import models

from costtrack.fields import total_field
from organizations.tenant_models import TenantModel


def dimension() -> "models.CharField[str, str]":
    return models.CharField(max_length=255)


def count() -> "models.BigIntegerField[int, int]":
    return models.BigIntegerField()


class RollupRow(TenantModel):
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    archived = models.BooleanField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)


class Costs(RollupRow):
    """The sums that nearly every report needs."""

    requests = count()
    unpriced = count()
    input_tokens = count()
    output_tokens = count()
    cache_read_tokens = count()
    cache_creation_tokens = count()
    token_cost_usd = total_field()
    compute_cost_usd = total_field()

    class Meta:
        abstract = True


class DetailedCosts(Costs):
    """All other sums of the ledger."""

    tool_calls = count()
    turns = count()
    cache_creation_1h_tokens = count()
    reasoning_tokens = count()
    audio_input_tokens = count()
    audio_output_tokens = count()
    tool_use_tokens = count()
    tool_result_tokens = count()
    duration_ms = models.DecimalField(max_digits=36, decimal_places=3)

    class Meta:
        abstract = True


# Sort expressions. Indexes and queries must use the same ones.
COST = models.F("token_cost_usd") + models.F("compute_cost_usd")
TOKENS = (
    models.F("input_tokens")
    + models.F("cache_read_tokens")
    + models.F("cache_creation_tokens")
    + models.F("output_tokens")
)
