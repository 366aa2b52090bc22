"""`GET /usage/events`: list ledger rows. (`POST` to the same path is in `billing.api.intake`.)"""

from dataclasses import replace
from operator import attrgetter
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import intake
from billing.api.operations import ReportEndpoint
from billing.api.queries import WindowFilterSet, lenient_query
from billing.api.response_cache import cached_operation
from billing.api.windows import WindowEndField, WindowStartField
from billing.ingest import json_events
from billing.ingest.services import IngestResult, dry_run, ingest
from billing.ledger.adjustments import Correction
from billing.models import UsageEvent
from billing.pricing.conditions import AppliedCondition
from billing.pricing.kinds import KINDS, PART_COUNTS
from billing.pricing.price_book import identify_model
from billing.pricing.quote import QuoteLine
from billing.reports.cursors import cursor_of, position_of
from billing.reports.events import SOURCES, EventFilter, explain, get_event, list_events
from billing.reports.known_costs import known_costs, why_cost_counts
from billing.types import NO_CREDENTIAL, CorrectionKind, CostBasis, Status
from costtrack.clock import utc_now
from costtrack.filters import ParameterFilter, ParameterOption
from costtrack.ignored_parameters import ignore_all
from costtrack.money import plain
from costtrack.serializers import AmountField, StrictSerializer, optional_text, page_cursor, page_size
from costtrack.tenancy import tenant_reads
from organizations.api.base import OrganizationScopedReportViewSet
from organizations.types import Scope

PRICE_KINDS = list(KINDS)


def _text(help_text: str | None = None, max_length: int = 255) -> ParameterFilter:
    return ParameterFilter(optional_text(help_text, max_length=max_length))


def _exact(help_text: str) -> ParameterFilter:
    """Return a filter by a text as it was sent."""
    return ParameterFilter(
        serializers.CharField(
            required=False, allow_blank=True, max_length=255, trim_whitespace=False, help_text=help_text
        )
    )


class EventFilterSet(WindowFilterSet):
    """Filters; an empty value is ignored."""

    run_id = _text()
    session_id = _text()
    model = _text("The model in any spelling.")
    sent_model = _exact("The model exactly as sent.")
    service = _text()
    provider = _text("Who bills the call.")
    capability = _text()
    user_id = _text()
    team = _text()
    end_user = _text()
    agent_id = _text()
    environment = _text("That of the credential.")
    client_id = _text(f"The credential; `{NO_CREDENTIAL}`: events without a credential.")
    status = ParameterFilter(serializers.ChoiceField(required=False, allow_blank=True, choices=Status.choices))
    workflow_id = _text("The workflow of the run, or of an event without a run.")
    tool = _text()
    tag = _text("One of the tags of an event.")
    source = _text(max_length=64)
    event_id = _exact(f"The id from the sender. Without `source`, the sources {', '.join(SOURCES)} are searched.")
    start_date = ParameterOption(
        WindowStartField(required=False, help_text="Events that occurred from this date or time on.")
    )
    end_date = ParameterOption(
        WindowEndField(
            required=False, help_text="Events that occurred until this date (inclusive) or before this time."
        )
    )
    limit = ParameterOption(page_size())
    cursor = ParameterOption(page_cursor())


class UsageEventSerializer(serializers.ModelSerializer[UsageEvent]):
    """A ledger row. Fields that were not sent are empty."""

    duration_ms = serializers.FloatField(allow_null=True)
    model = serializers.CharField(help_text="The model as limits and reports know it, whatever spelling was sent.")
    sent_model = serializers.CharField(source="model_as_sent", help_text="The model as sent.")
    user_id = serializers.CharField(source="user_ref")
    metadata = serializers.DictField(allow_null=True)
    cost_usd = AmountField(allow_null=True, help_text="Tokens and compute. Null while unknown, see `unpriced_reason`.")
    token_cost_usd = AmountField(allow_null=True)
    compute_cost_usd = AmountField()
    computed_cost_usd = AmountField(
        allow_null=True, help_text="For a reported token cost: the cost by configured prices."
    )
    price_version_id = serializers.IntegerField(allow_null=True, help_text="The price version used.")
    cost_basis = serializers.CharField(
        help_text="Which of the known costs counts: provider, sender, computed, gateway, unknown. Empty: not a call."
    )
    provider_cost_usd = AmountField(allow_null=True, help_text="The provider's own bill in the usage object.")
    stated_cost_usd = AmountField(allow_null=True, help_text="The cost that the sender stated.")
    gateway_cost_usd = AmountField(allow_null=True, help_text="The estimate of a gateway.")
    list_cost_usd = AmountField(
        allow_null=True, help_text="The cost without the organization's agreement. Null: no agreement applies."
    )
    canonical_provider = serializers.CharField(help_text="Provider of the catalog that the call was priced as.")
    canonical_model = serializers.CharField(help_text="Model of the catalog that the call was priced as.")
    other_quantities = serializers.DictField(allow_null=True, help_text="Quantities of kinds without a count, by kind.")
    attributes = serializers.DictField(allow_null=True, help_text="Conditions besides `service_tier` and `region`.")
    flags = serializers.ListField(
        child=serializers.DictField(child=serializers.CharField()),
        allow_null=True,
        help_text="Why the amount needs a review: a `code`, and as `detail` what was not read or does not add up.",
    )
    adjusts = serializers.UUIDField(allow_null=True, help_text="The event that this adjustment corrects.")

    class Meta:
        model = UsageEvent
        fields = (
            *("id", "event_id", "source", "request_id", "kind", "occurred_at", "received_at", "duration_ms"),
            *(
                "status",
                "status_code",
                "endpoint",
                "capability",
                "service",
                "model",
                "sent_model",
                "cost_group",
                "tool",
            ),
            *("run_id", "workflow_id", "execution_id", "phase_id", "workspace_id", "session_id"),
            *("group_id", "group_name", "agent_id", "agent_name"),
            *("user_id", "end_user", "team", "tags", "metadata", "provider", "environment"),
            *("input_tokens", "output_tokens", "cache_read_tokens"),
            *("cache_creation_tokens", "cache_creation_1h_tokens", "reasoning_tokens"),
            *("audio_input_tokens", "audio_output_tokens", "tool_use_tokens", "tool_result_tokens"),
            *("cost_usd", "token_cost_usd", "compute_cost_usd", "computed_cost_usd", "cost_source"),
            *("cost_basis", "provider_cost_usd", "stated_cost_usd", "gateway_cost_usd", "list_cost_usd"),
            *("canonical_provider", "canonical_model", "other_quantities"),
            *("service_tier", "region", "attributes", "flags"),
            *("unpriced_reason", "price_version_id", "adjusts", "adjustment_reason"),
        )
        # NULL in the database, 0 in Python (`costtrack.fields.RareCountField`).
        extra_kwargs = {
            name: {"required": False, "allow_null": False}
            for name in (*PART_COUNTS, "tool_use_tokens", "tool_result_tokens")
        }

    def to_representation(self, instance: UsageEvent) -> dict[str, Any]:
        """Build the row from attributes directly, which is ten times faster than the fields: a page has thousands of
        values."""
        row = dict(zip(UsageEventSerializer.Meta.fields, _values_of(instance), strict=True))
        for name in _AMOUNTS:
            if row[name] is not None:
                row[name] = plain(row[name])
        if row["duration_ms"] is not None:
            row["duration_ms"] = float(row["duration_ms"])
        if not row["canonical_model"] and row["price_version_id"] is not None:
            # Stored only if it is not the one that was sent.
            row["canonical_provider"], row["canonical_model"] = row["service"], row["model"]
        return row


_AMOUNTS = (
    *("cost_usd", "token_cost_usd", "compute_cost_usd", "computed_cost_usd"),
    *("provider_cost_usd", "stated_cost_usd", "gateway_cost_usd", "list_cost_usd"),
)
_ATTRIBUTES = {"user_id": "user_ref", "sent_model": "model_as_sent"}
_values_of = attrgetter(*(_ATTRIBUTES.get(name, name) for name in UsageEventSerializer.Meta.fields))


@extend_schema_serializer(many=False)
class EventPageSerializer(serializers.Serializer[Any]):
    results = UsageEventSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="Cursor of the next page; null on the last page.")


class PriceLineSerializer(serializers.Serializer[Any]):
    """quantity x unit price = amount. The unit price is per unit of the kind (docs/prices.md)."""

    kind = serializers.ChoiceField(choices=PRICE_KINDS)
    quantity = serializers.DecimalField(max_digits=36, decimal_places=12, coerce_to_string=False)
    unit_price_usd = AmountField()
    amount_usd = AmountField()
    list_unit_price_usd = AmountField(help_text="Without the organization's agreement.")
    list_amount_usd = AmountField(help_text="Without the organization's agreement.")
    priced_as = serializers.CharField(help_text="The kind whose unit price was taken; empty: its own.")
    is_estimate = serializers.BooleanField(help_text="True if that is only our assumption.")

    def to_representation(self, instance: QuoteLine) -> dict[str, Any]:
        quantity = instance.quantity
        return {
            "kind": instance.kind,
            "quantity": quantity if isinstance(quantity, int) else float(quantity),
            "unit_price_usd": plain(instance.unit_price_usd),
            "amount_usd": plain(instance.amount_usd),
            "list_unit_price_usd": plain(instance.list_unit_price_usd),
            "list_amount_usd": plain(instance.list_amount_usd),
            "priced_as": instance.priced_as,
            "is_estimate": instance.is_estimate,
        }


class AppliedConditionSerializer(serializers.Serializer[Any]):
    """A condition of the call that changed its unit prices. Without a factor they were replaced."""

    attribute = serializers.CharField()
    value = serializers.CharField()
    factor = serializers.SerializerMethodField()
    source = serializers.CharField()  # type: ignore[assignment] # DRF takes declared fields out of the class

    def get_factor(self, condition: AppliedCondition) -> float | None:
        return None if condition.factor is None else float(condition.factor)


class KnownCostSerializer(serializers.Serializer[Any]):
    """A cost of the call, and whether it is the one that counts."""

    basis = serializers.ChoiceField(choices=CostBasis.choices)
    amount_usd = AmountField()
    counts = serializers.BooleanField()


class CorrectionSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=CorrectionKind.choices)
    actor = serializers.CharField(help_text="Email address or Client ID; empty for costtrack itself.")
    reason = serializers.CharField()
    at = serializers.DateTimeField()


class AdjustmentSerializer(UsageEventSerializer):
    """An adjustment of an event. Its amounts and counts are differences."""

    correction = serializers.SerializerMethodField(help_text="Kind, actor, reason and time of the correction.")

    class Meta(UsageEventSerializer.Meta):
        fields = (*UsageEventSerializer.Meta.fields, "correction")  # type: ignore[assignment]

    def to_representation(self, instance: UsageEvent) -> dict[str, Any]:
        return {**super().to_representation(instance), "correction": self.get_correction(instance)}

    @extend_schema_field(CorrectionSerializer)
    def get_correction(self, adjustment: UsageEvent) -> Any:
        return CorrectionSerializer(Correction.of(adjustment)).data


class ExplainedEventSerializer(UsageEventSerializer):
    """An event with its price lines and adjustments."""

    voided = serializers.BooleanField(help_text="True if the event was voided.")
    cost_now_usd = AmountField(allow_null=True, help_text="Net cost, including adjustments. Null while unknown.")
    lines = PriceLineSerializer(many=True, help_text="By the last applied price version.")
    conditions = AppliedConditionSerializer(many=True, help_text="What changed the unit prices.")
    unknown = serializers.ListField(
        child=serializers.CharField(), help_text="Kinds without a unit price, or conditions without a price."
    )
    known_costs = KnownCostSerializer(many=True, help_text="All known costs, in the order of precedence.")
    cost_why = serializers.CharField(help_text="Why the cost counts that does. Empty: not a call.")
    usage_raw = serializers.DictField(
        allow_null=True, help_text="The usage object as sent (numbers and names) of flagged or unreadable usage."
    )
    adjustments = AdjustmentSerializer(many=True)

    class Meta(UsageEventSerializer.Meta):
        fields = (
            *UsageEventSerializer.Meta.fields,
            "voided",
            "cost_now_usd",
            "lines",
            "conditions",
            "unknown",
            "known_costs",
            "cost_why",
            "usage_raw",
            "adjustments",
        )  # type: ignore[assignment]


class SendQuery(StrictSerializer):
    dry_run = serializers.BooleanField(
        required=False, default=False, help_text="Store nothing, and respond with what would be stored."
    )


def _outcome(result: IngestResult) -> Response:
    if result.is_complete:
        return Response(result)
    return Response(
        result, status=status.HTTP_422_UNPROCESSABLE_ENTITY if result.is_useless else status.HTTP_207_MULTI_STATUS
    )


class EventViewSet(ReportEndpoint, OrganizationScopedReportViewSet):
    """`GET` and `POST /usage/events`, `GET /usage/events/{id}`"""

    scopes_by_action = {"create": Scope.USAGE_WRITE}
    actions_of_every_plan: ClassVar[frozenset[str]] = frozenset({"create"})
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"create"})
    own_transactions: ClassVar[bool] = True
    methods_with_late_check: ClassVar[frozenset[str]] = frozenset({"post"})
    max_body_bytes: ClassVar[int] = settings.INTAKE_MAX_BYTES
    ignores_unknown_parameters: ClassVar[bool] = True
    lookup_url_kwarg = "event_id"
    lookup_value_converter = "uuid"

    @extend_schema(
        operation_id="usage_events",
        tags=["intake"],
        parameters=[SendQuery],
        request={"application/json": intake.events_schema(), "application/x-ndjson": {"type": "string"}},
        responses={
            200: IngestResult,
            207: OpenApiResponse(IngestResult, "Some records were not stored."),
            422: OpenApiResponse(IngestResult, "No record could be stored."),
        },
    )
    def create(self, request: Request) -> Response:
        """Store usage events: one, an array, `{"events": [...]}`, or one per line. gzip and zstd are accepted.

        With `dry_run=true` nothing is stored: the response says what would be, with the cost and the models without a
        price.

        With an `Idempotency-Key`, events without an id get one from the key and their index, so a repeated request
        stores nothing twice."""
        now = utc_now()
        is_dry_run = lenient_query(SendQuery, request.query_params)["dry_run"]
        with intake.body_errors():
            body = intake.read_body(request, max_bytes=settings.INTAKE_MAX_BYTES)
            parsed = json_events.parse(
                body,
                content_type=intake.content_type(request),
                max_events=settings.INTAKE_MAX_EVENTS,
                now=now,
            )
        if is_dry_run:
            return _outcome(
                dry_run(organization=self.organization, credential=self.principal.credential, parsed=parsed, now=now)
            )
        idempotent_request = self.idempotent_request(body)
        result = ingest(
            organization=self.organization,
            credential=self.principal.credential,
            format="json",
            parsed=parsed,
            now=now,
            id_prefix=intake.remember_request(idempotent_request, now=now),
        )
        intake.forget_request_without_effect(idempotent_request, result)
        return _outcome(result)

    @cached_operation("usage_events_list", EventFilterSet, EventPageSerializer)
    def list(self, request: Request) -> Response:
        """List the ledger of the organization, newest first. Adjustments are separate rows."""
        filterset = EventFilterSet(self, EventFilter(), self.organization.calendar)
        options = filterset.options
        filters: EventFilter = filterset.qs
        with tenant_reads(self.organization.pk):
            model = identify_model(self.organization.pk, filters.model, now=utc_now())
            page = list_events(
                organization=self.organization,
                filters=replace(filters, model=model, user_id=self.organization.user_name(filters.user_id)),
                after=position_of(options["cursor"] or ""),
                limit=options["limit"],
            )
        results = UsageEventSerializer(page.rows, many=True).data
        return Response({"results": results, "next_cursor": cursor_of(page.last)})

    @cached_operation("usage_event", None, ExplainedEventSerializer)
    def retrieve(self, request: Request, event_id: UUID) -> Response:
        """Get one event and the calculation of its cost."""
        ignore_all(request.query_params)
        with tenant_reads(self.organization.pk):
            event = get_event(organization=self.organization, event_id=event_id)
            self.plan_rights.check_visible(event.occurred_at, now=utc_now())
            explanation = explain(event)
        cost_now_usd = explanation.cost_now_usd
        return Response(
            {
                **UsageEventSerializer(event).data,
                "voided": explanation.adjusted_event.is_voided,
                "cost_now_usd": plain(cost_now_usd) if cost_now_usd is not None else None,
                "lines": PriceLineSerializer(explanation.quote.lines, many=True).data,
                "conditions": AppliedConditionSerializer(explanation.quote.conditions, many=True).data,
                "unknown": list(explanation.quote.unknown),
                "known_costs": KnownCostSerializer(known_costs(event), many=True).data,
                "cost_why": why_cost_counts(event, explanation.quote),
                "usage_raw": event.usage_raw,
                "adjustments": AdjustmentSerializer(explanation.adjusted_event.adjustments, many=True).data,
            }
        )
