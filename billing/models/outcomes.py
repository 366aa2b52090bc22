"""What runs and sessions have achieved."""

from django.db import models

from costtrack.fields import dimension_field, optional_money_field
from organizations.tenant_models import TenantModel


class Outcome(TenantModel):
    """The result of a run or a session, as its sender reports it.

    `key` is the digest of the identity: the sender's id, or the run or session with the name. `value_usd` is what a
    successful outcome is worth. `attempt` is 1, or the number of a retry.
    """

    key = models.UUIDField(editable=False)
    outcome_id = dimension_field()
    run_id = dimension_field()
    session_id = dimension_field()
    name = models.CharField(max_length=255)
    is_success = models.BooleanField()
    value_usd = optional_money_field()
    attempt = models.PositiveIntegerField(default=1)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "key"), name="outcome_once"),)
        indexes = (
            models.Index(fields=("organization", "-id"), name="outcome_newest"),
            models.Index(fields=("organization", "run_id"), name="outcome_of_run", condition=~models.Q(run_id="")),
            models.Index(
                fields=("organization", "session_id"), name="outcome_of_session", condition=~models.Q(session_id="")
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} of {self.run_id or self.session_id}"
