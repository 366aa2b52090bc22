"""The read-only admin of batches: the events of each accepted request."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.list_filters import PeriodFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin
from billing.models import IngestBatch
from costtrack.ids import ids_at
from costtrack.money import usd
from organizations.models import Organization


class BatchPeriodFilter(PeriodFilter):
    """Filters by ids, which are ordered by time and indexed."""

    def since(self, instant: datetime) -> dict[str, Any]:
        return {"id__gte": ids_at(instant)[0]}

    def until(self, instant: datetime) -> dict[str, Any]:
        return {"id__lte": ids_at(instant)[1]}


@admin.register(IngestBatch)
class IngestBatchAdmin(SingleOrganizationAdmin):
    read_only = True
    list_display = ("received", "sent_as", "stored", "repeated", "refused", "unpriced_events", "cost", "sent_with")
    list_filter = (OrganizationFilter, BatchPeriodFilter)
    ordering = ("-id",)
    fields = ()
    empty_title = "No batches yet"
    empty_text = "Each accepted request that brings usage is a batch, and is listed here."

    def narrow(self, request: HttpRequest, queryset: QuerySet[IngestBatch]) -> QuerySet[IngestBatch]:
        # The index on the id begins with the organization, so one row is found through the organizations.
        return queryset.filter(organization__in=Organization.objects.all()).select_related("credential")

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        batch: IngestBatch = context["original"]
        context["events_url"] = formatting.ledger_url(batch.organization_id, batch=str(batch.pk))
        context["details"] = formatting.without_empty(
            (
                ("Organization", batch.organization.name),
                ("Received (UTC)", formatting.instant(batch.received_at)),
                ("Format", batch.format),
                ("Sent with", self.sent_with(batch)),
                ("Events stored", formatting.count(batch.accepted)),
                ("Duplicates of stored events", formatting.count(batch.duplicates)),
                ("Conflicts with stored events", formatting.count(batch.conflicts)),
                ("Records refused", formatting.count(batch.rejected)),
                ("Stored without a price", formatting.count(batch.unpriced)),
                ("Known cost", usd(batch.cost_usd)),
            )
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Received (UTC)")
    def received(self, batch: IngestBatch) -> str:
        return formatting.instant(batch.received_at)

    @admin.display(description="Format")
    def sent_as(self, batch: IngestBatch) -> str:
        return batch.format

    @admin.display(description="Events")
    def stored(self, batch: IngestBatch) -> SafeString:
        return formatting.link(
            formatting.ledger_url(batch.organization_id, batch=str(batch.pk)), formatting.count(batch.accepted)
        )

    @admin.display(description="Repeated")
    def repeated(self, batch: IngestBatch) -> str:
        return formatting.count_or_nothing(batch.duplicates)

    @admin.display(description="Refused")
    def refused(self, batch: IngestBatch) -> SafeString | str:
        refused = batch.rejected + batch.conflicts
        title = f"{batch.rejected:,} unreadable, {batch.conflicts:,} in conflict with stored events"
        return formatting.badge(formatting.count(refused), "danger", title) if refused else formatting.NOTHING

    @admin.display(description="Unpriced")
    def unpriced_events(self, batch: IngestBatch) -> SafeString | str:
        return formatting.badge(formatting.count(batch.unpriced), "warning") if batch.unpriced else formatting.NOTHING

    @admin.display(description="Known cost")
    def cost(self, batch: IngestBatch) -> str:
        return usd(batch.cost_usd)

    @admin.display(description="Sent with")
    def sent_with(self, batch: IngestBatch) -> str:
        return formatting.sender(batch.credential_id, batch.credential)
