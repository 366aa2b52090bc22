"""Single rows of the ledger: lists of rows, and the explanation of a row's cost. Read-only."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from uuid import UUID

from django.db.models import Q

from billing.archives.lookup import find_archived_event
from billing.ingest import lago, langfuse, litellm, otlp
from billing.ingest.ledger_entries import DEFAULT_SOURCE, event_key
from billing.ledger.calls import call_of
from billing.ledger.net_cost import AdjustedEvent, load_adjusted_event
from billing.models import EventKey, PriceVersion, Run, UsageEvent
from billing.models.ledger import UsageEventQuerySet
from billing.pricing.price_book import agreements_of, called_model, compile_price, quote_at
from billing.pricing.quote import Quote
from billing.reports.cursors import Page, Position, page_of
from billing.types import NO_CREDENTIAL, SAMPLE_TOOL
from costtrack.calendar import Window
from costtrack.errors import NotFoundError
from costtrack.event_files.types import FILE_SOURCES
from organizations.models import APICredential, Organization

# Default sources of the ingestion endpoints and of files, for events that do not name one.
SOURCES = (
    DEFAULT_SOURCE,
    litellm.SOURCE,
    otlp.SOURCE,
    otlp.METRICS_SOURCE,
    langfuse.SOURCE,
    lago.SOURCE,
    *FILE_SOURCES,
)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Filters of the event list; empty means any. `model` is the identity of a model (`identify_model`), `sent_model`
    its name as sent. An `event_id` belongs to a source; without `source` it is looked up
    in `SOURCES`."""

    run_id: str = ""
    session_id: str = ""
    model: str = ""
    sent_model: str = ""
    service: str = ""
    provider: str = ""
    capability: str = ""
    user_id: str = ""
    team: str = ""
    end_user: str = ""
    agent_id: str = ""
    environment: str = ""
    client_id: str = ""
    status: str = ""
    workflow_id: str = ""
    tool: str = ""
    tag: str = ""
    source: str = ""
    event_id: str = ""
    window: Window = field(default_factory=Window)


def list_events(
    *, organization: Organization, filters: EventFilter, after: Position | None, limit: int
) -> Page[UsageEvent, Position]:
    """Return ledger rows after a position, newest first."""
    events, end = _filtered(organization, filters), filters.window.end
    # Only one upper bound, so that the time index is entered exactly there.
    if after is not None and (end is None or after.at < end):
        events = events.before(after.at, after.id)
    elif end is not None:
        events = events.filter(occurred_at__lt=end)
    rows = list(events.order_by("-occurred_at", "-id")[: limit + 1])
    return page_of(rows, limit, lambda event: Position(event.occurred_at, event.id))


def get_event(*, organization: Organization, event_id: UUID) -> UsageEvent:
    """Return one row by its ledger id, also an archived one. Raises NotFoundError, or an error of
    `find_archived_event`."""
    event = UsageEvent.objects.of(organization).filter(id=event_id).first()
    event = event or find_archived_event(organization=organization, event_id=event_id)
    if event is None:
        raise NotFoundError("No such event.")
    # Avoids a query when the event is explained.
    event.organization = organization
    return event


def first_event(*, organization: Organization) -> UsageEvent | None:
    """Return the first received row that is still in the ledger, or None; a test event only if there is no other."""
    events = UsageEvent.objects.of(organization).order_by("id")
    event = events.exclude(tool=SAMPLE_TOOL).first() or events.first()
    if event is not None:
        event.organization = organization
    return event


_EXACT = (
    *("run_id", "session_id", "model", "service", "provider", "capability", "team", "end_user", "agent_id"),
    *("environment", "status", "tool", "source"),
)


def _filtered(organization: Organization, filters: EventFilter) -> UsageEventQuerySet:
    """Return the filtered rows, without the end of the window."""
    events = UsageEvent.objects.of(organization)
    events = events.filter(**{name: value for name in _EXACT if (value := getattr(filters, name))})
    if filters.user_id:
        events = events.filter(user_ref=filters.user_id)
    if filters.client_id:
        own = APICredential.objects.of(organization)
        if filters.client_id == NO_CREDENTIAL:
            events = events.filter(Q(credential=None) | ~Q(credential__in=own.values("pk")))
        else:
            events = events.filter(credential__in=own.filter(client_id=filters.client_id).values("pk"))
    if filters.tag:
        events = events.filter(tags__contains=[filters.tag])
    if filters.workflow_id:  # that of the run, as in `billing.reports.usage.figures`
        runs = Run.objects.of(organization).filter(workflow_id=filters.workflow_id)
        of_workflow = Q(run_id="", workflow_id=filters.workflow_id) | (
            ~Q(run_id="") & Q(run_id__in=runs.values("run_id"))
        )
        events = events.filter(of_workflow)
    if filters.sent_model:
        events = events.filter(Q(sent_model=filters.sent_model) | Q(sent_model="", model=filters.sent_model))
    if filters.event_id:
        sources = (filters.source,) if filters.source else SOURCES
        keys = [event_key(source, filters.event_id) for source in sources]
        event_keys = EventKey.objects.of(organization).filter(key__in=keys)
        events = events.filter(id__in=list(event_keys.values_list("event_id", flat=True)))
    if filters.window.start is not None:
        events = events.filter(occurred_at__gte=filters.window.start)
    return events


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of an event's cost.

    `adjusted_event` is the event with its adjustments. `quote` applies `price`, the last applied price version, to the
    usage of the event under its conditions. `corrected` is the event that this row corrects, if it is an adjustment.
    """

    adjusted_event: AdjustedEvent
    price: PriceVersion | None
    quote: Quote
    corrected: UsageEvent | None

    @property
    def cost_now_usd(self) -> Decimal | None:
        """The net cost, or None while it is unknown."""
        return self.adjusted_event.cost_usd


def explain(event: UsageEvent) -> Explanation:
    """Explain an event. An adjustment is explained with the counts of the event it corrects; if that event was dropped,
    the calculation is empty."""
    adjusted_event = load_adjusted_event(event)
    corrected = _find_corrected(event)
    applied = [row.price_version_id for row in (event, *adjusted_event.adjustments) if row.price_version_id is not None]
    price = PriceVersion.objects.select_related("organization").filter(pk=applied[-1]).first() if applied else None
    if price is None or (event.adjusts is not None and corrected is None):
        return Explanation(adjusted_event, price, Quote(), corrected)
    adjustments = adjusted_event.adjustments if corrected is None else ()
    quote = _quote(corrected or event, adjustments, price)
    return Explanation(adjusted_event, price, quote, corrected)


def _quote(event: UsageEvent, adjustments: Iterable[UsageEvent], price: PriceVersion) -> Quote:
    day = event.occurred_at.astimezone(UTC).date()
    compiled = compile_price(price, called_model(price, event.service, event.model_as_sent, day), day)
    # Only an agreement makes the list cost another one.
    agreements = agreements_of(event.organization_id) if event.list_cost_usd is not None else ()
    return quote_at(compiled, call_of(event, adjustments), agreements)


def _find_corrected(event: UsageEvent) -> UsageEvent | None:
    if event.adjusts is None:
        return None
    return UsageEvent.objects.of(event.organization).filter(pk=event.adjusts).first()
