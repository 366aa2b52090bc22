"""Named settings of the explorer."""

from django.db import models

from organizations.tenant_models import TenantModel


class SavedView(TenantModel):
    """Parameters of the explorer under a name: of one user, or shared with the organization. A default is what the
    explorer opens with: the user's own, else the shared one."""

    # There is no foreign key in the database, because users belong to no organization.
    user = models.ForeignKey(
        "organizations.User",
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
        help_text="NULL for a shared view of a credential.",
    )
    name = models.CharField(max_length=100)
    parameters = models.CharField(max_length=4_000, blank=True, help_text="The query string.")
    is_shared = models.BooleanField(default=False)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "user", "name"), name="saved_view_once", condition=models.Q(is_shared=False)
            ),
            models.UniqueConstraint(
                fields=("organization", "name"), name="shared_view_once", condition=models.Q(is_shared=True)
            ),
            models.UniqueConstraint(
                fields=("organization", "user"),
                name="saved_default_once",
                condition=models.Q(is_shared=False, is_default=True),
            ),
            models.UniqueConstraint(
                fields=("organization",),
                name="shared_default_once",
                condition=models.Q(is_shared=True, is_default=True),
            ),
        )

    def __str__(self) -> str:
        return self.name
