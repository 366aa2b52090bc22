"""The admin of the quarantine: records that could not be read, with the reason and a retry."""

from collections import Counter
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import local_time
from billing.admin.components.list_filters import ConditionFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin
from billing.admin.components.tables import column
from billing.ingest.quarantine import retry
from billing.models import QuarantinedRecord
from costtrack.clock import utc_now
from costtrack.errors import DomainError
from organizations.admin_actions import confirmed
from organizations.permissions import USAGE

_MAX_AT_ONCE = 500


@admin.register(QuarantinedRecord)
class QuarantinedRecordAdmin(SingleOrganizationAdmin):
    resource = USAGE
    history_field = "received_at"
    read_only = True
    select_related = ("organization", "credential")
    file_fields = (
        *("id", "format", "credential", "received_at", "record_id", "field", "code", "message", "is_truncated"),
        "resolved_at",
    )
    list_display = ("received", "sent_as", "record", "what_is_wrong", "sent_with", "state")
    list_filter = (
        OrganizationFilter,
        ConditionFilter.of(
            "state",
            "state",
            all_option=["", "Open"],
            default=Q(resolved_at=None),
            conditions=(("resolved", "Resolved", Q(resolved_at__isnull=False)), ("all", "All", Q())),
        ),
    )
    ordering = ("-id",)
    actions = ("try_again",)
    actions_detail = ("try_this_again",)  # type: ignore[assignment]  # unfold declares an empty tuple
    empty_title = "The quarantine is empty"
    empty_text = (
        "LiteLLM discards its records if it gets an error. Records that cannot be read are therefore stored here, with "
        "the reason, so that you can retry them."
    )

    def cards(self, request: HttpRequest, row: QuarantinedRecord) -> list[Card]:
        details = (
            ("State", self.state(row)),
            ("Problem", row.message),
            ("Field", row.field),
            ("Code", row.code),
            ("Record", row.record_id),
            ("Organization", row.organization.name),
            ("Format", row.format),
            ("Sent with", self.sent_with(row)),
            ("Received", local_time(row.received_at)),
            ("Resolved", local_time(row.resolved_at)),
        )
        return [
            Card("Record", details=without_empty(details)),
            Card(
                "As received, without prompts and completions",
                text="" if row.raw else "The content was not stored: it is not JSON and could contain prompts.",
                code=row.raw,
                footer="Truncated because it was too large or could not be stored unchanged."
                if row.is_truncated
                else "",
            ),
        ]

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

    @confirmed(
        "Retry",
        icon="replay",
        title="Retry record",
        verb="Retry",
        text="The record is processed again as if it had just been received. Retry after you have set a price or "
        "updated costtrack; the record itself does not change.",
    )
    def try_this_again(self, request: HttpRequest, record: QuarantinedRecord) -> HttpResponse:
        reason = self._retry(record)
        if reason:
            messages.warning(request, f"The record remains in quarantine: {reason}")
        else:
            messages.success(request, "The record was added to the ledger.")
        return HttpResponseRedirect(self.page_url(record))

    def confirmation_context(self, request: HttpRequest, row: QuarantinedRecord, name: str) -> dict[str, Any]:
        return {"subject": str(row), "summary": [f"Refused: {row.message}"]}

    def _retry(self, record: QuarantinedRecord) -> str:
        """Retry a record. Return why it remains in quarantine, or an empty text."""
        try:
            result = retry(record=record, now=utc_now())
        except DomainError as error:
            return error.message
        return "" if result.is_complete else result.errors[0].message

    # --- Columns -----------------------------------------------------------------------------------------------

    received = column(QuarantinedRecord, "Received", lambda row: local_time(row.received_at))
    sent_as = column(QuarantinedRecord, "Format", lambda row: row.format)

    record = column(QuarantinedRecord, "Record", lambda row: formatting.code(row.record_id))
    what_is_wrong = column(QuarantinedRecord, "Problem", lambda row: row.message)
    sent_with = column(QuarantinedRecord, "Sent with", lambda row: formatting.sender(row.credential_id, row.credential))

    @admin.display(description="State")
    def state(self, record: QuarantinedRecord) -> SafeString:
        if record.resolved_at is not None:
            return formatting.badge("resolved", "success")
        if record.is_truncated:
            return formatting.badge(
                "cut off", "danger", "The record was too large to store completely and cannot be retried."
            )
        return formatting.badge("open", "warning")


def _plural(number: int, singular: str, plural: str) -> str:
    return singular if number == 1 else plural
