"""Tables of calls for the request log and of events for a run's page. Each row links to the event's page."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.tables import Column, Sorting, Table
from billing.admin.components.urls import event_url, run_url
from billing.models import UsageEvent
from billing.reports.usage.request_log import Call
from billing.types import Status
from costtrack.file_columns import FileLinks
from costtrack.money import usd


def call_table(calls: Sequence[Call], times: LocalTimes, *, sorting: Sorting | None = None) -> Table[Call]:
    """Return a table of calls; `sorting` only if they are sorted by cost."""
    columns = (
        Column[Call]("When", lambda call: _when_called(call, times)),
        Column[Call]("Cost", lambda call: _cost(call.cost_usd), is_number=True),
        Column[Call]("Model", _model),
        Column[Call]("Status", lambda call: _status(call.status, call.status_code, is_voided=call.is_voided)),
        Column[Call]("Tokens", _tokens, is_number=True),
        Column[Call]("Run, credential", _run_and_credential),
    )
    return Table("Model calls", columns, calls, css="ct-calls", sorting=sorting)


def event_table(
    title: str, events: Sequence[UsageEvent], times: LocalTimes, *, empty: str, file: FileLinks
) -> Table[UsageEvent]:
    """Return a table of events as they were recorded, without their corrections."""
    columns = (
        Column[UsageEvent]("When", lambda event: _when(event.pk, event.occurred_at, times)),
        Column[UsageEvent]("Cost", lambda event: _cost(event.cost_usd), is_number=True),
        Column[UsageEvent](
            "Model",
            lambda event: formatting.two_lines(
                formatting.name(event.model or event.tool or event.get_kind_display()), event.service
            ),
        ),
        Column[UsageEvent]("Kind", lambda event: formatting.two_lines(event.get_kind_display(), event.capability)),
        Column[UsageEvent]("Status", lambda event: _status(event.status, event.status_code)),
        Column[UsageEvent]("Tokens in", lambda event: formatting.count(tokens_in(event)), is_number=True),
        Column[UsageEvent]("Tokens out", lambda event: formatting.count(event.output_tokens), is_number=True),
    )
    return Table(title, columns, events, css="ct-calls", empty=empty, file=file)


def tokens_in(event: UsageEvent) -> int:
    """Return all input tokens, with those of caches."""
    return event.input_tokens + event.cache_read_tokens + event.cache_creation_tokens


def _when(event_id: object, instant: datetime, times: LocalTimes) -> SafeString:
    return format_html('<a class="ct-when" href="{}">{}</a>', event_url(event_id), times.two_lines(instant))


def _when_called(call: Call, times: LocalTimes) -> SafeString:
    """Archived calls have no page."""
    if not call.is_archived:
        return _when(call.id, call.occurred_at, times)
    return format_html('<span class="ct-when">{}</span>', times.two_lines(call.occurred_at))


def _status(status: str, code: int | None, *, is_voided: bool = False) -> SafeString:
    failed = status == Status.FAILURE.value
    text = f"{Status(status).label} {code or ''}".strip()
    shown = formatting.badge(text, "danger" if failed else "success")
    if not is_voided:
        return shown
    return format_html("{} {}", shown, formatting.badge("Voided", "warning", "Excluded from all totals"))


def _cost(cost_usd: Decimal | None) -> SafeString | str:
    return usd(cost_usd) if cost_usd is not None else formatting.badge("Unpriced", "warning", "Cost not known yet")


def _model(call: Call) -> SafeString:
    """Render the model, with its service, the capability and the endpoint below it."""
    about = " · ".join(filter(None, (call.service, call.capability, call.endpoint)))
    return formatting.two_lines(formatting.name(call.model or "No model"), formatting.name(about, 40))


def _tokens(call: Call) -> SafeString:
    return formatting.two_lines(
        f"{formatting.count(call.prompt_tokens)} in", f"{formatting.count(call.completion_tokens)} out"
    )


def _run_and_credential(call: Call) -> SafeString:
    run = formatting.id_link(run_url(call.run_id), call.run_id) if call.run_id else "No run"
    return formatting.two_lines(run, call.credential_name or "No credential")
