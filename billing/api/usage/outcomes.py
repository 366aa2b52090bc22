"""`/usage/outcomes`: what runs and sessions have achieved, and what it costs."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema
from msgspec import UNSET, UnsetType
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import ReportEndpoint, operation
from billing.api.usage.figures import UsageBody, UsageView, common_fields
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.api.windows import WindowEndField, WindowStartField, window_of
from billing.ingest.outcomes import MAX_ATTEMPT, MAX_OUTCOMES, OutcomeReport, ReportState, record_outcomes
from billing.models import Outcome
from billing.reports.outcomes import (
    GROUPS,
    MAX_CURSOR_LENGTH,
    OutcomeCost,
    OutcomeFilter,
    WorkCost,
    WorkState,
    list_outcomes,
    outcome_costs,
)
from billing.reports.usage.figures import GroupBy
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.money import DECIMALS, DIGITS
from costtrack.name_fields import NameField
from costtrack.parsers import ExactParser
from costtrack.responses import Amount, NextCursor, ResponseBody, about
from costtrack.serializers import AmountInputField, StrictSerializer, optional_text, page_size
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

MAX_ROWS = 1_000
_DECIMALS_OF_RATIOS = 12
_MAX_ID = 2**63 - 1
_EXAMPLE = {"run_id": "run-1", "name": "ticket_resolved", "success": True, "value_usd": "4.50"}


class NewOutcome(StrictSerializer):
    """What a run or a session has achieved. Give either `run_id` or `session_id`."""

    id = serializers.CharField(
        source="outcome_id",
        required=False,
        max_length=255,
        trim_whitespace=False,
        help_text="Unique in the organization. Without it, a run or session has one outcome of each name.",
    )
    run_id = NameField(required=False, help_text="The outcome covers the run and the runs below it.")
    session_id = NameField(required=False)
    name = NameField(help_text="What was to be achieved, for example `ticket_resolved`.")
    success = serializers.BooleanField(source="is_success")
    value_usd = AmountInputField(
        required=False,
        allow_null=True,
        max_digits=DIGITS,
        decimal_places=DECIMALS,
        min_value=Decimal(0),
        help_text="What the outcome is worth, if it is a success.",
    )
    attempt = serializers.IntegerField(
        default=1, min_value=1, max_value=MAX_ATTEMPT, help_text="Above 1: the run or session is a retry."
    )
    occurred_at = WindowStartField(
        required=False, help_text="Default: now. Of several reports, the one with the latest time counts."
    )


class RecordedOutcome(ResponseBody):
    name: str
    run_id: str | None
    session_id: str | None
    state: Annotated[
        ReportState,
        about(
            "`updated`: an earlier report is replaced; `duplicate`: the same was stored already; `outdated`: a report "
            "of a later time is stored."
        ),
    ]


class RecordedOutcomesBody(ResponseBody):
    accepted: int
    updated: int
    duplicates: int
    outdated: int
    results: Annotated[list[RecordedOutcome], about("In the order of the request.")]


class OutcomesQuery(StrictSerializer):
    """Parameters; an empty value is ignored."""

    name = optional_text()
    run_id = optional_text()
    session_id = optional_text()
    success = serializers.BooleanField(required=False, allow_null=True, default=None)
    start_date = WindowStartField(required=False, help_text="Only outcomes from this day or time on.")
    end_date = WindowEndField(required=False, help_text="Only outcomes until this day (inclusive) or before this time.")
    limit = page_size()
    cursor = serializers.CharField(
        required=False, allow_blank=True, max_length=100, help_text="`next_cursor` of the previous page."
    )


class OutcomeBody(ResponseBody):
    id: Annotated[str | None, about("The id from the sender.")]
    run_id: str | None
    session_id: str | None
    name: str
    success: bool
    value_usd: Amount | None
    attempt: int
    occurred_at: datetime
    received_at: datetime


class OutcomePageBody(ResponseBody):
    results: Annotated[list[OutcomeBody], about("The last stored first.")]
    next_cursor: NextCursor


class UsageOutcomesView(ReportEndpoint, OrganizationScopedAPIView):
    """`GET` and `POST /usage/outcomes`"""

    scopes_by_action = {"post": Scope.USAGE_WRITE}
    actions_of_every_plan: ClassVar[frozenset[str]] = frozenset({"post"})
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"post"})
    parser_classes = (ExactParser,)

    @operation("usage_outcomes", OutcomesQuery, OutcomePageBody)
    def get(self, request: Request) -> Response:
        """List outcomes of runs and sessions, the last stored first."""
        given = {name: value for name, value in request.query_params.items() if name != "organization"}
        parameters = OutcomesQuery(data=given, context={"calendar": self.organization.calendar})
        parameters.is_valid(raise_exception=True)
        values: dict[str, Any] = parameters.validated_data
        window = window_of(values.get("start_date"), values.get("end_date"))
        page = list_outcomes(
            organization=self.organization,
            filters=OutcomeFilter(
                window=self.plan_rights.visible(window, now=utc_now()),
                name=values.get("name", ""),
                run_id=values.get("run_id", ""),
                session_id=values.get("session_id", ""),
                is_success=values["success"],
            ),
            after=_id_in(values.get("cursor", "")),
            limit=values["limit"],
        )
        cursor = str(page.last) if page.last is not None else None
        return Response(OutcomePageBody(results=list(map(_outcome, page.rows)), next_cursor=cursor))

    @extend_schema(
        operation_id="usage_outcomes_create",
        tags=["intake"],
        request=PolymorphicProxySerializer("NewOutcomes", [NewOutcome, NewOutcome(many=True)], None, many=False),
        responses={200: RecordedOutcomesBody},
        examples=[OpenApiExample("One", _EXAMPLE, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """Record outcomes of runs or sessions: one, or an array of up to 1,000, all or nothing.

        An outcome that is sent again counts once. If it has changed, the report with the latest `occurred_at` counts.
        """
        is_one = not isinstance(request.data, list)
        context = {"calendar": self.organization.calendar}
        body: serializers.BaseSerializer[Any] = (
            NewOutcome(data=request.data, context=context)
            if is_one
            else serializers.ListSerializer(
                data=request.data, child=NewOutcome(), allow_empty=False, max_length=MAX_OUTCOMES, context=context
            )
        )
        body.is_valid(raise_exception=True)
        given: list[dict[str, Any]] = [body.validated_data] if is_one else body.validated_data
        reports = [OutcomeReport(**outcome) for outcome in given]
        states = record_outcomes(organization=self.organization, reports=reports, now=utc_now())
        return Response(
            RecordedOutcomesBody(
                accepted=states.count(ReportState.ACCEPTED),
                updated=states.count(ReportState.UPDATED),
                duplicates=states.count(ReportState.DUPLICATE),
                outdated=states.count(ReportState.OUTDATED),
                results=[
                    RecordedOutcome(report.name, report.run_id or None, report.session_id or None, state)
                    for report, state in zip(reports, states, strict=True)
                ],
            )
        )


class OutcomeCostsQuery(UsageQuerySerializer):
    group_by = serializers.ChoiceField(default=GroupBy.WORKFLOW.value, choices=[by.value for by in GROUPS])
    outcome = optional_text("Only outcomes of this name count.")
    limit = serializers.IntegerField(default=100, min_value=1, max_value=MAX_ROWS, help_text="Rows of a page.")
    cursor = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_CURSOR_LENGTH, help_text="`next_cursor` of the previous page."
    )


class WorkCostBody(ResponseBody):
    count: Annotated[int, about("Runs and sessions.")]
    cost_usd: Amount


class OutcomeCostTotal(ResponseBody, kw_only=True):
    cost_usd: Annotated[Amount, about("All usage: the sum of the states.")]
    cost_per_success_usd: Annotated[
        Amount | None,
        about("The cost of succeeded, failed and abandoned work for each success. Rounded to 12 decimals."),
    ]
    success_rate: Annotated[float | None, about("Of succeeded, failed and abandoned work. From 0 to 1.")]
    value_usd: Annotated[Amount, about("What the successes are worth.")]
    succeeded: WorkCostBody
    failed: Annotated[WorkCostBody, about("With an outcome that is no success.")]
    abandoned: Annotated[WorkCostBody, about("Without an outcome, and without usage in the last 24 hours.")]
    open: Annotated[WorkCostBody, about("Without an outcome, with usage in the last 24 hours.")]
    untracked: Annotated[WorkCostBody, about("Of workflows without any outcome in the range.")]
    other: Annotated[WorkCostBody, about("Usage without a run or session.")]
    retries: Annotated[WorkCostBody, about("With an outcome of `attempt` 2 or more. Part of the states.")]
    failed_calls_usd: Annotated[Amount, about("The cost of failed calls. Part of the states.")]
    unpriced_events: Annotated[int, about("Events without a known cost.")]


Value = Annotated[str | UnsetType, about("With this `group_by`. Empty: usage without a value.")]


class OutcomeCostRow(OutcomeCostTotal, kw_only=True):
    workflow: Value = UNSET
    agent: Value = UNSET
    model: Value = UNSET
    team: Value = UNSET
    capability: Value = UNSET
    credential: Value = UNSET
    user: Value = UNSET
    end_user: Value = UNSET
    provider: Value = UNSET
    service: Value = UNSET
    environment: Value = UNSET


class OutcomeCostsBody(UsageBody):
    group_by: GroupBy
    outcome: str | None
    total: OutcomeCostTotal
    results: Annotated[list[OutcomeCostRow], about("The most expensive first. Their costs add up to the total.")]
    next_cursor: NextCursor


class UsageOutcomeCostsView(UsageView):
    """`GET /usage/outcomes/costs`"""

    ignores_unknown_parameters: ClassVar[bool] = False  # no document has it

    @operation("usage_outcome_costs", OutcomeCostsQuery, OutcomeCostsBody)
    def get(self, request: Request) -> Response:
        """Get the cost per successful outcome, and what failed, abandoned and retried work costs, by workflow, agent,
        model, team or another dimension. A run counts in each row in which it has usage."""
        query = usage_query(self, OutcomeCostsQuery)
        by, name = GroupBy(query.extra["group_by"]), query.extra.get("outcome", "")
        costs = outcome_costs(
            organization=self.organization,
            filters=query.filters,
            window=query.window,
            by=by,
            now=query.now,
            name=name,
            after=query.extra.get("cursor", ""),
            limit=query.extra["limit"],
        )
        return Response(
            OutcomeCostsBody(
                **common_fields(query),
                group_by=by,
                outcome=name or None,
                total=OutcomeCostTotal(**_figures(costs.total)),
                results=[OutcomeCostRow(**{by.value: row.key, **_figures(row)}) for row in costs.rows],
                next_cursor=costs.next_cursor,
            )
        )


def _figures(cost: OutcomeCost) -> dict[str, Any]:
    per_success = cost.cost_per_success_usd
    return {
        "cost_usd": Amount.of(cost.cost_usd),
        "cost_per_success_usd": Amount.of(round(per_success, _DECIMALS_OF_RATIOS)) if per_success is not None else None,
        "success_rate": cost.success_rate,
        "value_usd": Amount.of(cost.value_usd),
        **{state.value: _work(cost.of(state)) for state in WorkState},
        "retries": _work(cost.retries),
        "failed_calls_usd": Amount.of(cost.failed_calls_usd),
        "unpriced_events": cost.unpriced_events,
    }


def _work(work: WorkCost) -> WorkCostBody:
    return WorkCostBody(count=work.count, cost_usd=Amount.of(work.cost_usd))


def _outcome(outcome: Outcome) -> OutcomeBody:
    return OutcomeBody(
        id=outcome.outcome_id or None,
        run_id=outcome.run_id or None,
        session_id=outcome.session_id or None,
        name=outcome.name,
        success=outcome.is_success,
        value_usd=Amount.of(outcome.value_usd) if outcome.value_usd is not None else None,
        attempt=outcome.attempt,
        occurred_at=outcome.occurred_at,
        received_at=outcome.received_at,
    )


def _id_in(cursor: str) -> int | None:
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and int(cursor) <= _MAX_ID):
        raise InvalidError("Invalid cursor. Remove it to start from the first page.", param="cursor")
    return int(cursor)
