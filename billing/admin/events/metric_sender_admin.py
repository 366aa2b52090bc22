"""The admin of senders whose metrics count as usage."""

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from billing.admin.components.cards import Card
from billing.admin.components.datetimes import local_time
from billing.admin.components.model_admins import (
    OrganizationFilter,
    SingleOrganizationAdmin,
    SingleOrganizationList,
    shown_organization,
)
from billing.admin.components.tables import column
from billing.ingest.metric_senders import add_metric_sender, remove_metric_sender
from billing.models import MetricSender
from billing.reports.metric_senders import MetricTokens, metric_tokens
from costtrack.clock import utc_now
from organizations.admin_request import request_user
from organizations.permissions import PRICES


class MetricSenderForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    class Meta:
        model = MetricSender
        fields = ("organization", "name")
        labels = {"name": "Sender"}
        help_texts = {
            "name": "The service.name of the sender, for example claude-code. Add it only if its logs and spans do not "
            "arrive; hours in which they do are not counted twice."
        }


class MetricSenderList(SingleOrganizationList):
    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        if self.organization is not None:
            tokens = metric_tokens(self.organization, rows, utc_now())
            for row in rows:
                row.tokens = tokens[row.pk]


def _current_hour(row: Any) -> str:
    tokens: MetricTokens = row.tokens
    return f"{tokens.current_hour:,} tokens{'' if tokens.is_counted else ', not counted'}"


@admin.register(MetricSender)
class MetricSenderAdmin(SingleOrganizationAdmin):
    resource = PRICES
    changeable = False
    deletable = True
    form = MetricSenderForm
    changelist_class = MetricSenderList
    list_display = ("name", "counted", "current_hour", "last_day", "missing", "since")
    list_filter = (OrganizationFilter,)
    ordering = ("id",)
    empty_title = "Metrics are not counted as usage"
    empty_text = (
        "OpenTelemetry's metrics repeat the tokens of logs and spans, so they only serve as a check. Add a sender that "
        "exports nothing else to count its metrics as usage."
    )

    counted = column(MetricSender, "Metrics", lambda row: row.metric or "None yet")
    current_hour = column(MetricSender, "Current hour", _current_hour)
    last_day = column(MetricSender, "Last 24 hours", lambda row: f"{cast('Any', row).tokens.last_day:,} tokens")
    missing = column(MetricSender, "Missing", lambda row: f"{cast('Any', row).tokens.last_day_missing:,} tokens")
    since = column(MetricSender, "Since", lambda row: local_time(row.created_at))

    def get_fields(self, request: HttpRequest, obj: MetricSender | None = None) -> tuple[str, ...]:
        return ("organization", "name") if obj is None else ()

    def cards(self, request: HttpRequest, row: MetricSender) -> list[Card]:
        cast("Any", row).tokens = metric_tokens(row.organization, [row], utc_now())[row.pk]
        details = (
            ("Sender", row.name),
            ("Metrics", self.counted(row)),
            ("Current hour", self.current_hour(row)),
            ("Last 24 hours", self.last_day(row)),
            ("Missing", self.missing(row)),
            ("Since", self.since(row)),
            ("Organization", row.organization.name),
        )
        footer = (
            "Its tokens are events of the source otlp-metrics. In hours in which logs or spans arrive, and in the next "
            "one, these are counted instead; tokens that have not arrived in them are missing. If you delete the "
            "sender, what was counted stays."
        )
        return [Card("Metrics as usage", details=details, footer=footer)]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"organization": shown_organization(request), **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        data = form.cleaned_data
        saved = add_metric_sender(
            organization=data["organization"], name=data["name"], actor=request_user(request).email, now=utc_now()
        )
        obj.pk, obj.created_at = saved.pk, saved.created_at

    def delete_model(self, request: HttpRequest, obj: MetricSender) -> None:
        remove_metric_sender(organization=obj.organization, sender=obj, actor=request_user(request).email)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for row in queryset:
            self.delete_model(request, row)
