"""The admin of deliveries: each message, its recipient and result, and a button to send it again."""

import json
from datetime import datetime
from typing import Any, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.list_filters import ChoiceFilter, NumberFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, SingleOrganizationList
from billing.models import Delivery
from billing.notifications.deliveries import resend
from billing.notifications.emails import render
from billing.notifications.webhook_urls import display_url
from billing.types import Channel, DeliveryState, NoticeKind
from costtrack.clock import iso, utc_now
from organizations.admin_base import button, show_domain_errors
from organizations.admin_request import request_user

_BADGES = {DeliveryState.PENDING: "info", DeliveryState.SENT: "success", DeliveryState.FAILED: "danger"}


class ChannelFilter(ChoiceFilter):
    title = "channel"
    parameter_name = "channel"
    options = Channel


class StateFilter(ChoiceFilter):
    title = "state"
    parameter_name = "state"
    options = DeliveryState


class KindFilter(ChoiceFilter):
    title = "notice"
    parameter_name = "kind"
    options = NoticeKind

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(notice__kind=value) if value in self.options.values else queryset


class WebhookFilter(NumberFilter):
    """Filters by a webhook; the webhook's page links here."""

    title = "webhook id"
    parameter_name = "webhook"
    column = "webhook"


class DeliveryList(SingleOrganizationList):
    """Adds to each row whether the user may see the recipient, because knowing a URL may be enough to post there."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(cast("QuerySet[Delivery]", self.result_list))
        may_see = cast("DeliveryAdmin", self.model_admin).may_manage_shown(request)
        for row in rows:
            row.is_open = may_see  # type: ignore[attr-defined]  # for the columns
            row.organization = self.organization  # type: ignore[assignment]  # a row has one
        self.result_list = rows


@admin.register(Delivery)
class DeliveryAdmin(SingleOrganizationAdmin):
    read_only = True
    list_display = ("message", "to", "state_shown", "tries", "next_try", "last_error_shown")
    list_filter = (OrganizationFilter, StateFilter, ChannelFilter, KindFilter, WebhookFilter)
    ordering = ("-id",)
    fields = ()
    actions_detail = ("send_again",)  # type: ignore[assignment]  # unfold declares an empty tuple
    empty_title = "No deliveries yet"
    empty_text = (
        "When a limit is near or access is paused, owners and admins get an e-mail and webhooks get a message. Each "
        "delivery is listed here with its result."
    )

    def narrow(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return queryset.select_related("notice")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return DeliveryList

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        delivery: Delivery = context["original"]
        is_open = self.has_manage_permission(request, delivery)
        context["details"] = formatting.without_empty(_details(delivery, is_open, utc_now()))
        context["badge"] = delivery_badge(delivery)
        if delivery.channel == Channel.EMAIL.value:
            context["text"], context["html"] = render(notice=delivery.notice, organization=delivery.organization)
        context["body"] = json.dumps(_body(delivery), indent=2, ensure_ascii=False)
        return super().render_change_form(request, context, *args, **kwargs)

    @button("Send again", icon="replay")
    @show_domain_errors
    def send_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        delivery: Delivery = self.get_queryset(request).select_related("organization").get(pk=object_id)
        if request.method != "POST":
            return self._confirm(request, delivery)
        resend(organization=delivery.organization, delivery=delivery, actor=request_user(request).email, now=utc_now())
        messages.success(request, "Delivery queued again.")
        return HttpResponseRedirect(formatting.change_url("billing_delivery", id=delivery.pk))

    def _confirm(self, request: HttpRequest, delivery: Delivery) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Send again",
            "delivery": delivery,
            "back": formatting.change_url("billing_delivery", id=delivery.pk),
        }
        return TemplateResponse(request, "admin/billing/delivery/send_again.html", context)

    # --- Columns -----------------------------------------------------------------------------------------------

    @admin.display(description="Notice")
    def message(self, delivery: Delivery) -> SafeString:
        when = datetimes.exact(delivery.created_at.replace(microsecond=0), delivery.organization.calendar)
        return formatting.two_lines(delivery.notice.subject, when)

    @admin.display(description="To")
    def to(self, delivery: Delivery) -> SafeString:
        return formatting.two_lines(_recipient(delivery, _is_open(delivery)), delivery.get_channel_display())

    @admin.display(description="State")
    def state_shown(self, delivery: Delivery) -> SafeString:
        return delivery_badge(delivery)

    @admin.display(description="Attempts")
    def tries(self, delivery: Delivery) -> str:
        return formatting.count_or_nothing(delivery.attempts)

    @admin.display(description="Next attempt")
    def next_try(self, delivery: Delivery) -> str:
        is_pending = delivery.state == DeliveryState.PENDING.value
        return datetimes.relative(delivery.next_attempt_at, utc_now()) if is_pending else formatting.NOTHING

    @admin.display(description="Last error")
    def last_error_shown(self, delivery: Delivery) -> SafeString | str:
        if not delivery.last_error or not _is_open(delivery):
            return formatting.NOTHING
        return format_html('<span class="ct-cut" title="{0}">{0}</span>', delivery.last_error)


def _is_open(delivery: Delivery) -> bool:
    """Whether `DeliveryList` allows the user to see the recipient."""
    return bool(getattr(delivery, "is_open", False))


def delivery_badge(delivery: Delivery) -> SafeString:
    state = DeliveryState(delivery.state)
    return formatting.badge(state.label, _BADGES[state])


def _recipient(delivery: Delivery, is_open: bool) -> str:  # noqa: FBT001 - whether the user may see all of it
    """Return the recipient; viewers see only the host of a URL or an e-mail address."""
    if is_open:
        return delivery.recipient
    if delivery.channel == Channel.WEBHOOK.value:
        return display_url(delivery.recipient)
    return "…@" + delivery.recipient.rpartition("@")[2]


def _details(delivery: Delivery, is_open: bool, now: datetime) -> list[tuple[str, SafeString | str]]:  # noqa: FBT001
    calendar = delivery.organization.calendar
    is_pending = delivery.state == DeliveryState.PENDING.value
    finished = delivery.finished_at
    webhook = ""
    if delivery.webhook_id is not None:
        webhook = formatting.link(
            formatting.change_url("billing_webhookendpoint", id=delivery.webhook_id), "View webhook"
        )
    return [
        ("To", _recipient(delivery, is_open)),
        ("Channel", delivery.get_channel_display()),
        ("Webhook", webhook),
        ("Notice", delivery.notice.get_kind_display()),
        ("Created", datetimes.inline(delivery.created_at, calendar=calendar, now=now)),
        ("Attempts", formatting.count_or_nothing(delivery.attempts)),
        ("Next attempt", datetimes.inline(delivery.next_attempt_at, calendar=calendar, now=now) if is_pending else ""),
        ("Finished", datetimes.inline(finished, calendar=calendar, now=now) if finished is not None else ""),
        ("Last status", str(delivery.last_status or "")),
        ("Last error", delivery.last_error if is_open else ""),
        ("Message id", formatting.code(delivery.message_id)),
        ("Organization", delivery.organization.name),
    ]


def _body(delivery: Delivery) -> dict[str, Any]:
    """Return the message as sent to programs (Standard Webhooks)."""
    notice = delivery.notice
    return {"type": notice.kind, "timestamp": iso(notice.created_at), "data": notice.data}
