"""The read-only admin of batches: the events of each accepted request."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import local_time
from billing.admin.components.list_filters import IdPeriodFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin
from billing.admin.components.tables import column
from billing.admin.components.urls import ledger_url
from billing.models import IngestBatch
from costtrack.money import usd
from organizations.permissions import USAGE


@admin.register(IngestBatch)
class IngestBatchAdmin(SingleOrganizationAdmin):
    resource = USAGE
    history_field = "received_at"
    read_only = True
    finds_through_organizations = True
    select_related = ("credential",)
    list_display = ("received", "sent_as", "stored", "repeated", "refused", "unpriced_events", "cost", "sent_with")
    list_filter = (OrganizationFilter, IdPeriodFilter)
    ordering = ("-id",)
    empty_title = "No batches yet"
    empty_text = "Each accepted request with usage is a batch."

    def cards(self, request: HttpRequest, row: IngestBatch) -> list[Card]:
        details = (
            ("Organization", row.organization.name),
            ("Received", local_time(row.received_at)),
            ("Format", row.format),
            ("Sent with", self.sent_with(row)),
            ("Events stored", formatting.count(row.accepted)),
            ("Duplicates of stored events", formatting.count(row.duplicates)),
            ("Conflicts with stored events", formatting.count(row.conflicts)),
            ("Records refused", formatting.count(row.rejected)),
            ("Stored without a price", formatting.count(row.unpriced)),
            ("Known cost", usd(row.cost_usd)),
        )
        link = ("View events", ledger_url(row.organization_id, batch=str(row.pk)))
        return [Card("Batch", link=link, details=without_empty(details))]

    received = column(IngestBatch, "Received", lambda row: local_time(row.received_at))
    sent_as = column(IngestBatch, "Format", lambda row: row.format)

    @admin.display(description="Events")
    def stored(self, batch: IngestBatch) -> SafeString:
        return formatting.link(ledger_url(batch.organization_id, batch=str(batch.pk)), formatting.count(batch.accepted))

    repeated = column(IngestBatch, "Repeated", lambda row: formatting.count_or_nothing(row.duplicates))

    @admin.display(description="Refused")
    def refused(self, batch: IngestBatch) -> SafeString | str:
        refused = batch.rejected + batch.conflicts
        title = f"{batch.rejected:,} unreadable, {batch.conflicts:,} in conflict with stored events"
        return formatting.badge(formatting.count(refused), "danger", title) if refused else formatting.NOTHING

    @admin.display(description="Unpriced")
    def unpriced_events(self, batch: IngestBatch) -> SafeString | str:
        return formatting.badge(formatting.count(batch.unpriced), "warning") if batch.unpriced else formatting.NOTHING

    cost = column(IngestBatch, "Known cost", lambda row: usd(row.cost_usd))
    sent_with = column(IngestBatch, "Sent with", lambda row: formatting.sender(row.credential_id, row.credential))
