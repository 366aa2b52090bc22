"""Authorizations: reservations taken before a call, settled by the call's event."""

from django.db import models

from billing.types import AuthorizationStatus
from costtrack.fields import dimension_field, money_field, optional_money_field, tags_field
from organizations.tenant_models import TenantModel


class Authorization(TenantModel):
    """The estimated cost of a call, reserved under every limit that covers it until the call's event settles it.

    `amount_usd` is reserved while the status is reserved and the authorization is not expired. The reserved amount of a
    limit is always the sum of these rows, also for limits that are created later; there is no counter that could drift.
    The dimensions are those of `billing.models.UsageEvent`, and as there no foreign keys are checked.

    In the database the primary key begins with the organization (billing/migrations/sql/0002_primary_keys.sql): always
    filter by it too.
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
    status = models.CharField(max_length=8, choices=AuthorizationStatus, default=AuthorizationStatus.RESERVED)
    amount_usd = money_field()
    tokens = models.BigIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    settled_usd = optional_money_field()
    idempotency_key = dimension_field()
    payload_hash = models.BigIntegerField(default=0, db_default=0)
    # What was granted instead of the requested call (`billing.limits.caps`): `max_tokens` or `model`.
    caps = models.JSONField(null=True)

    service = dimension_field()
    model = dimension_field()
    sent_model = dimension_field()
    provider = dimension_field()
    capability = dimension_field()
    environment = dimension_field()
    agent_id = dimension_field()
    user_ref = dimension_field()
    end_user = dimension_field()
    team = dimension_field()
    workflow_id = dimension_field()
    run_id = dimension_field()
    session_id = dimension_field()
    tags = tags_field()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "idempotency_key"),
                name="authorization_once",
                condition=~models.Q(idempotency_key=""),
            ),
        )
        indexes = (
            models.Index(
                fields=("organization", "expires_at"),
                name="authorization_open",
                condition=models.Q(status="reserved"),
            ),
        )

    @property
    def model_as_sent(self) -> str:
        """The model as the caller named it."""
        return self.sent_model or self.model
