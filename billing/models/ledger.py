"""The ledger: batches of usage events, append-only.

In the database the primary keys of these tables begin with the organization (billing/migrations/sql). Ids are
unique, so in Django the primary key is `id` alone. Always filter by organization too.
"""

from datetime import datetime
from decimal import Decimal
from typing import Self
from uuid import UUID

from django.db import models
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan

from billing.types import CostBasis, CostSource, EventKind, Status, UnpricedReason
from costtrack.fields import RareCountField, dimension_field, money_field, optional_money_field, tags_field, total_field
from costtrack.ids import last_event_id
from costtrack.money import ZERO
from organizations.tenant_models import OrganizationScopedQuerySet, TenantModel

# The known cost of a row of the ledger, in SQL (over a row `event`) and Python. `billing.ledger.net_cost` adds
# the adjustments.
COST_SQL = "coalesce(event.token_cost_usd, 0) + event.compute_cost_usd"


def known_cost(token_cost_usd: Decimal | None, compute_cost_usd: Decimal) -> Decimal:
    return (ZERO if token_cost_usd is None else token_cost_usd) + compute_cost_usd


def _count() -> "models.BigIntegerField[int, int]":
    return models.BigIntegerField(default=0, db_default=0)


def _small_count() -> "models.IntegerField[int, int]":
    return models.IntegerField(default=0, db_default=0, editable=False)


class IngestBatch(TenantModel):
    """The events of one accepted request. A batch is folded in one transaction, exactly once.

    The batch's events are those with `id < event.id <= last_event_id` (`costtrack.ids`).
    """

    id = models.UUIDField(primary_key=True, editable=False)
    credential = models.ForeignKey(
        "organizations.APICredential", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    last_event_id = models.UUIDField(editable=False)
    format = models.CharField(max_length=32, help_text="The wire format, for example json or litellm.")
    received_at = models.DateTimeField()
    accepted = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=0)
    conflicts = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    unpriced = models.PositiveIntegerField(default=0)
    cost_usd = total_field()
    folded_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "batch"
        verbose_name_plural = "batches"
        indexes = (models.Index(fields=("organization",), name="batch_unfolded", condition=models.Q(folded_at=None)),)


class EventKey(TenantModel):
    """The identity of a stored event: the digests of (source, event id) and of its content
    (docs/decisions/016-event-identity.md).

    It is a separate table because a unique key of a partitioned table must contain the partition key, and because it
    stays when old events are dropped, so that no event is counted twice.
    """

    pk = models.CompositePrimaryKey("organization", "key")
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    key = models.UUIDField()
    event_id = models.UUIDField()
    payload_hash = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.key)


class CallKey(TenantModel):
    """The identity of a model call at its provider: the digest of a response or request id (docs/ingestion.md).

    The first event of the call owns the key. Its provider, model and tokens are stored here, so that reports of the
    same call from other sources can be compared with it after old events are dropped.
    """

    pk = models.CompositePrimaryKey("organization", "key")
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    key = models.UUIDField()
    event_id = models.UUIDField()
    source = models.CharField(max_length=64)
    provider = models.CharField(max_length=255, blank=True)
    model = models.CharField(max_length=255, blank=True)
    input_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.key)


def _unknown_to_the_planner(*values: datetime | UUID) -> tuple[models.Func, ...]:
    """Hide the values from the planner, which estimates a row comparison by its first column alone.

    If all remaining events had the same time it would expect none, and sort all of them instead of scanning the index.
    """
    return tuple(models.Func(models.Value(value), template="(SELECT %(expressions)s)") for value in values)


_POSITION = Tuple(models.F("occurred_at"), models.F("id"))


class UsageEventQuerySet(OrganizationScopedQuerySet["UsageEvent"]):
    def of_batch(self, batch_id: UUID) -> Self:
        """The events of a batch, which are a range of the primary key (`costtrack.ids`)."""
        return self.filter(id__gt=batch_id, id__lte=last_event_id(batch_id))

    def before(self, occurred_at: datetime, event_id: UUID) -> Self:
        """The events before a position in the order of (occurred_at, id).

        A row comparison is a bound of the index on time. "Earlier, or at the same time with a smaller id" is not: the
        scan would begin at the first event of that time, and there may be any number of them.
        """
        return self.filter(TupleLessThan(_POSITION, _unknown_to_the_planner(occurred_at, event_id)))

    def after(self, occurred_at: datetime, event_id: UUID) -> Self:
        """The events after a position in the order of (occurred_at, id)."""
        return self.filter(TupleGreaterThan(_POSITION, _unknown_to_the_planner(occurred_at, event_id)))


class UsageEvent(TenantModel):
    """A row of the ledger: a model call, a tool call, a compute charge, a session summary, or an adjustment.

    Append-only: the database refuses UPDATE and DELETE, and a correction is a new row that names the old one in
    `adjusts`. Counts of an adjustment are differences and may be negative.

    The table is partitioned by the month of the id, which is the month of receipt (`billing.ledger.partitions`).

    Tokens: `input_tokens` is uncached input. Totals include their parts: `cache_creation_tokens` the one-hour cache
    writes, `output_tokens` reasoning and audio, `input_tokens` audio.

    Cost: `token_cost_usd` is NULL if it is unknown (`unpriced_reason` has the reason). `compute_cost_usd` is the cost
    of tools and machines. `computed_cost_usd` is the cost by our prices, next to a reported token cost. The lines of
    quantity x unit price can be computed again from `price_version` and the token counts.

    There are no foreign keys in the database: each would be checked for every row of a batch, and the rows that they
    reference (organizations, credentials, prices) are never deleted.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    credential = models.ForeignKey(
        "organizations.APICredential",
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )

    # Identity, stored in `EventKey`. An event without an id is never a duplicate.
    source = models.CharField(max_length=64)
    event_id = dimension_field()
    request_id = dimension_field()

    kind = models.CharField(max_length=16, choices=EventKind)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    duration_ms = models.DecimalField(max_digits=18, decimal_places=3, null=True)
    status = models.CharField(max_length=8, choices=Status, default=Status.SUCCESS, db_default=Status.SUCCESS.value)
    status_code = models.PositiveSmallIntegerField(null=True)

    # What was called.
    endpoint = dimension_field()
    capability = dimension_field()
    service = dimension_field()
    model = dimension_field()
    # The model as sent, if that is not the name by which limits and reports know it.
    sent_model = dimension_field()
    cost_group = dimension_field()
    tool = dimension_field()

    # Who bills the call, and the environment of its credential, for limits.
    provider = dimension_field()
    environment = dimension_field()

    # Context and attribution.
    run_id = dimension_field()
    workflow_id = dimension_field()
    execution_id = dimension_field()
    phase_id = dimension_field()
    workspace_id = dimension_field()
    session_id = dimension_field()
    group_id = dimension_field()
    group_name = dimension_field()
    agent_id = dimension_field()
    agent_name = dimension_field()
    user_ref = dimension_field()
    end_user = dimension_field()
    team = dimension_field()
    tags = tags_field()
    metadata = models.JSONField(null=True)

    # The reservation that this event settled (`billing.models.Authorization`).
    authorization_id = models.UUIDField(null=True, editable=False)

    # Usage.
    input_tokens = _count()
    output_tokens = _count()
    cache_read_tokens = _count()
    cache_creation_tokens = _count()
    cache_creation_1h_tokens = RareCountField()
    reasoning_tokens = RareCountField()
    audio_input_tokens = RareCountField()
    audio_output_tokens = RareCountField()
    tool_use_tokens = RareCountField()
    tool_result_tokens = RareCountField()
    # Quantities of kinds without a column (`billing.pricing.kinds`), by kind.
    other_quantities = models.JSONField(null=True)
    # The quantities of each request, if the event has several: each is priced for its own size.
    calls = models.JSONField(null=True)

    # The conditions of the call that change its price; `attributes` are those without a column.
    service_tier = dimension_field()
    region = dimension_field()
    attributes = models.JSONField(null=True)

    # Why the usage needs a review: `[{"code": ..., "detail": ...}]`. `usage_raw` is stored for flagged and unreadable
    # usage.
    flags = models.JSONField(null=True)
    usage_raw = models.JSONField(null=True)

    # Signed counts: negative for a void, a difference for a summary. `unpriced` is 1 for an event without a known cost
    # and -1 for the adjustment that prices it.
    requests = _small_count()
    tool_calls = _small_count()
    turns = _small_count()
    unpriced = _small_count()

    # Cost.
    token_cost_usd = optional_money_field()
    compute_cost_usd = money_field(db_default=ZERO)
    computed_cost_usd = optional_money_field()
    cost_source = models.CharField(max_length=8, choices=CostSource)
    # Every known cost of a model call; `cost_basis` says which one counts. `list_cost_usd` is the computed cost without
    # the organization's agreement.
    cost_basis = models.CharField(max_length=8, choices=CostBasis, blank=True, default="", db_default="")
    provider_cost_usd = optional_money_field()
    stated_cost_usd = optional_money_field()
    gateway_cost_usd = optional_money_field()
    list_cost_usd = optional_money_field()
    unpriced_reason = models.CharField(max_length=32, choices=UnpricedReason, blank=True, default="", db_default="")
    # The model of the catalog that the call was priced as, if it is not `service` and `model`.
    canonical_provider = dimension_field()
    canonical_model = dimension_field()
    price_version = models.ForeignKey(
        "billing.PriceVersion",
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )

    # Corrections: the event this row corrects, and why.
    adjusts = models.UUIDField(null=True, editable=False)
    adjustment_reason = dimension_field()

    is_archived = False
    """Whether the event was read from the archive (`billing.archives.lookup`)."""
    archived_adjustments: "tuple[UsageEvent, ...]" = ()
    """The adjustments of an archived event that are archived, too."""

    objects = UsageEventQuerySet.as_manager()  # type: ignore[misc] # mypy takes it for a variable of instances

    class Meta:
        indexes = (
            models.Index(fields=("organization", "occurred_at", "id"), name="event_by_time"),
            models.Index(fields=("organization", "run_id"), name="event_of_run", condition=~models.Q(run_id="")),
            models.Index(
                fields=("organization", "session_id"), name="event_of_session", condition=~models.Q(session_id="")
            ),
            models.Index(
                fields=("organization", "authorization_id"),
                name="event_of_authorization",
                condition=models.Q(authorization_id__isnull=False),
            ),
            # Not by time: any number of events may have the same time.
            models.Index(
                fields=("organization", "adjusts"), name="event_adjustments", condition=models.Q(adjusts__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return self.event_id or str(self.id)

    @property
    def model_as_sent(self) -> str:
        """The model as the sender named it; prices are looked up by it."""
        return self.sent_model or self.model

    @property
    def cost_usd(self) -> Decimal | None:
        """Token and compute cost; None while the token cost is unknown."""
        return None if self.token_cost_usd is None else known_cost(self.token_cost_usd, self.compute_cost_usd)


class UnpricedEvent(TenantModel):
    """The queue of unpriced events. When an event is priced, it leaves the queue and an adjustment is appended."""

    event_id = models.UUIDField(primary_key=True)
    service = models.CharField(max_length=255, blank=True)
    model = models.CharField(max_length=255, blank=True)
    occurred_at = models.DateTimeField()
    reason = models.CharField(max_length=32, choices=UnpricedReason)

    class Meta:
        indexes = (models.Index(fields=("organization", "service", "model"), name="unpriced_by_model"),)
