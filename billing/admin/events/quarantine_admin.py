"""The admin of the quarantine: records that could not be read, with the reason and a retry."""

from collections import Counter
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter

from billing.admin.components import formatting
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin
from billing.ingest.quarantine import retry
from billing.models import QuarantinedRecord
from costtrack.clock import utc_now
from costtrack.errors import DomainError
from organizations.admin_base import button, show_domain_errors

_MAX_AT_ONCE = 500


class StateFilter(DropdownFilter):
    title = "state"
    parameter_name = "state"
    all_option = ["", "Open"]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("resolved", "Resolved"), ("all", "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() != "resolved")


@admin.register(QuarantinedRecord)
class QuarantinedRecordAdmin(SingleOrganizationAdmin):
    read_only = True
    list_display = ("received", "sent_as", "record", "what_is_wrong", "sent_with", "state")
    list_filter = (OrganizationFilter, StateFilter)
    ordering = ("-id",)
    fields = ()
    actions = ("try_again",)
    actions_detail = ("try_this_again",)  # type: ignore[assignment]  # unfold declares an empty tuple
    empty_title = "The quarantine is empty"
    empty_text = (
        "LiteLLM discards its records when it receives an error, so records that cannot be read are stored here "
        "with the reason, until they can be added to the ledger."
    )

    def narrow(self, request: HttpRequest, queryset: QuerySet[QuarantinedRecord]) -> QuerySet[QuarantinedRecord]:
        return queryset.select_related("organization", "credential")

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        record: QuarantinedRecord = context["original"]
        context["details"] = formatting.without_empty(
            (
                ("State", self.state(record)),
                ("Problem", record.message),
                ("Field", record.field),
                ("Code", record.code),
                ("Record", record.record_id),
                ("Organization", record.organization.name),
                ("Format", record.format),
                ("Sent with", self.sent_with(record)),
                ("Received (UTC)", formatting.instant(record.received_at)),
                ("Resolved (UTC)", formatting.instant(record.resolved_at) if record.resolved_at else ""),
            )
        )
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Retry --------------------------------------------------------------------------------------------------

    @admin.action(description="Retry", permissions=["manage"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[QuarantinedRecord]) -> None:
        records = list(queryset.order_by("id")[: _MAX_AT_ONCE + 1])
        outcomes = Counter(self._retry(record) for record in records[:_MAX_AT_ONCE])
        stored = outcomes.pop("", 0)
        if stored:
            messages.success(
                request, f"{stored:,} {_plural(stored, 'record was', 'records were')} added to the ledger."
            )
        for reason, number in outcomes.most_common():
            messages.warning(request, f"{number:,} {_plural(number, 'record remains', 'records remain')}: {reason}")
        if len(records) > _MAX_AT_ONCE:
            messages.info(request, f"Only {_MAX_AT_ONCE} records are retried at once. Select the rest and retry.")

    @button("Retry", icon="replay")
    @show_domain_errors
    def try_this_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        record: QuarantinedRecord = self.get_queryset(request).get(pk=object_id)
        if request.method != "POST":
            return self._confirm(request, record)
        reason = self._retry(record)
        if reason:
            messages.warning(request, f"The record remains in quarantine: {reason}")
        else:
            messages.success(request, "The record was added to the ledger.")
        return HttpResponseRedirect(formatting.change_url("billing_quarantinedrecord", id=record.pk))

    def _retry(self, record: QuarantinedRecord) -> str:
        """Retry a record. Return why it remains in quarantine, or an empty text."""
        try:
            result = retry(record=record, now=utc_now())
        except DomainError as error:
            return error.message
        return "" if result.is_complete else result.errors[0].message

    def _confirm(self, request: HttpRequest, record: QuarantinedRecord) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Retry",
            "record": record,
            "back": formatting.change_url("billing_quarantinedrecord", id=record.pk),
        }
        return TemplateResponse(request, "admin/billing/quarantinedrecord/try_again.html", context)

    # --- Columns -----------------------------------------------------------------------------------------------

    @admin.display(description="Received (UTC)")
    def received(self, record: QuarantinedRecord) -> str:
        return formatting.instant(record.received_at)

    @admin.display(description="Format")
    def sent_as(self, record: QuarantinedRecord) -> str:
        return record.format

    @admin.display(description="Record")
    def record(self, record: QuarantinedRecord) -> SafeString | str:
        return formatting.code(record.record_id) if record.record_id else formatting.NOTHING

    @admin.display(description="Problem")
    def what_is_wrong(self, record: QuarantinedRecord) -> str:
        return record.message

    @admin.display(description="Sent with")
    def sent_with(self, record: QuarantinedRecord) -> str:
        return formatting.sender(record.credential_id, record.credential)

    @admin.display(description="State")
    def state(self, record: QuarantinedRecord) -> SafeString:
        if record.resolved_at is not None:
            return formatting.badge("resolved", "success")
        if record.is_cut:
            return formatting.badge(
                "cut off", "danger", "The record was too large to store completely and cannot be retried."
            )
        return formatting.badge("open", "warning")


def _plural(number: int, singular: str, plural: str) -> str:
    return singular if number == 1 else plural
