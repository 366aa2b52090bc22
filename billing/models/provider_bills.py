"""Bills of providers: their imports, the days that they cover, and their rows."""

from django.db import models

from billing.types import BillFormat, BillProvider, BillReport, FetchState
from costtrack.fields import optional_money_field
from organizations.tenant_models import TenantModel


class BillImport(TenantModel):
    """A file of a provider's costs or usage. `fetched_at` is when it was downloaded; `digest` is that of its
    content."""

    provider = models.CharField(max_length=64)
    account = models.CharField(max_length=100, blank=True)
    format = models.CharField(max_length=32, choices=BillFormat)
    file_name = models.CharField(max_length=255, blank=True)
    digest = models.CharField(max_length=64)
    first_day = models.DateField()
    last_day = models.DateField()
    row_count = models.PositiveIntegerField()
    amount_usd = optional_money_field()
    fetched_at = models.DateTimeField()
    actor = models.CharField(max_length=254)
    created_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(fields=("organization", "-id"), name="bill_import_newest"),
            models.Index(fields=("organization", "digest"), name="bill_import_by_digest"),
        )

    def __str__(self) -> str:
        return self.file_name or self.digest[:12]


class BillDay(TenantModel):
    """The newest report of a day (UTC). `agreed_since` is when the first of the reports that agree with it was
    downloaded after the end of the day."""

    provider = models.CharField(max_length=64)
    account = models.CharField(max_length=100, blank=True)
    report = models.CharField(max_length=8, choices=BillReport)
    day = models.DateField()
    import_id = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    agreed_since = models.DateTimeField(null=True)
    fetched_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "provider", "account", "report", "day"), name="bill_day_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.day}"


class BillRow(TenantModel):
    """What a provider's report has for a day, a key, a model and a kind of tokens: a quantity, an amount, or both."""

    provider = models.CharField(max_length=64)
    account = models.CharField(max_length=100, blank=True)
    report = models.CharField(max_length=8, choices=BillReport)
    day = models.DateField()
    key = models.CharField(max_length=255, blank=True)
    model = models.CharField(max_length=255, blank=True)
    kind = models.CharField(max_length=32, blank=True)
    quantity = models.DecimalField(max_digits=36, decimal_places=6, null=True)
    amount_usd = optional_money_field()

    class Meta:
        indexes = (
            models.Index(fields=("organization", "provider", "day", "account", "report"), name="bill_row_by_day"),
        )


class BillKey(TenantModel):
    """The credential whose calls a key of a provider makes. Without a credential, the key is not the organization's."""

    provider = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    client_id = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "provider", "key"), name="bill_key_once"),)

    def __str__(self) -> str:
        return self.key


class BillConnection(TenantModel):
    """An account of a provider whose bills are fetched with an admin key, which is stored encrypted
    (`billing.provider_bills.bill_connections`).

    `next_fetch_at` is when a worker fetches next; NULL: not until the key is replaced or a user starts it. A worker
    that fetches has claimed the row until `claimed_until`. `days` were in the last successful fetch, at `fetched_at`.
    """

    provider = models.CharField(max_length=32, choices=BillProvider)
    account = models.CharField(max_length=100, blank=True)
    key = models.TextField(editable=False)
    key_changed_at = models.DateTimeField()
    actor = models.CharField(max_length=254, help_text="Who entered the key: an email address or Client ID.")
    created_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=FetchState, default=FetchState.QUEUED.value)
    progress = models.CharField(max_length=100, blank=True)
    error = models.CharField(max_length=400, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_fetch_at = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(null=True)
    fetched_at = models.DateTimeField(null=True)
    days = models.PositiveSmallIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("organization", "provider", "account"), name="bill_connection_once"),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.account}".rstrip()
