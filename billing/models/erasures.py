"""Replacements of a person's id by a pseudonym."""

from django.db import models

from organizations.tenant_models import TenantModel


class Erasure(TenantModel):
    """The replacement of a person's id by a pseudonym (`billing.erasure`). While it is not finished, the transaction
    that does it can change the texts of entries of the audit log."""

    pseudonym = models.CharField(max_length=64)
    began_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    rows = models.JSONField(default=dict, help_text="By table.")

    def __str__(self) -> str:
        return self.pseudonym
