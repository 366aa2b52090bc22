"""`/usage/allocation`: shared cost, before and after the rules that split it, and the rules."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from billing.allocation_rules import (
    MAX_NAME_LENGTH,
    MAX_POSITION,
    MAX_TARGETS,
    NewRule,
    create_rule,
    end_rule,
    validate_rule,
)
from billing.api.usage.export import CsvRenderer, ErrorsInJson, ParquetRenderer
from billing.exports.allocation_files import AllocationFile, AllocationRows
from billing.exports.requesters import user_of
from billing.exports.table_files import CONTENT_TYPES, file_response
from billing.models import AllocationRule
from billing.reports.allocation.allocation import Allocation, RuleResult, TargetCost, allocations
from billing.reports.allocation.rules import AllocationBasis, applicable, list_rules
from billing.reports.months import MAX_MONTHS, last_months, month_of, this_month, visible_months
from billing.reports.usage.sources import MAX_VALUES, SOURCE_PARAMETERS, TAG
from billing.types import AllocationTarget, SplitMeasure, SplitMethod
from costtrack.clock import utc_now
from costtrack.date_fields import MonthField
from costtrack.file_columns import FORMATS, FileFormat
from costtrack.name_fields import NameField
from costtrack.responses import Amount, ResponseBody, about, choice
from costtrack.serializers import AmountInputField, StrictSerializer, optional_text, validated
from organizations.api.base import OrganizationScopedAPIView
from organizations.permissions import USAGE
from organizations.plan_rights import PlanRights
from organizations.principals import Access

_SHARE = about("From 0 to 1; null without cost.")


class BasisQuery(StrictSerializer):
    """Parameters; an empty value is ignored."""

    by = serializers.ChoiceField(
        default=AllocationTarget.TEAM.value, choices=AllocationTarget.choices, help_text="What cost is allocated to."
    )
    tag_prefix = optional_text(
        "With `by=tag`: only tags that begin with this, for example `project:`. Usage belongs to the first of them."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("tag_prefix") and attrs["by"] != AllocationTarget.TAG:
            raise serializers.ValidationError({"tag_prefix": "Only with by=tag."})
        return attrs


class AllocationQuery(BasisQuery):
    month = MonthField(required=False, help_text="Default: the current month.")


class AllocationMonths(AllocationQuery):
    months = serializers.IntegerField(default=1, min_value=1, max_value=MAX_MONTHS, help_text="Until `month`.")
    rows = serializers.ChoiceField(
        default=AllocationRows.TARGETS.value,
        choices=[rows.value for rows in AllocationRows],
        help_text="One row per target, or per target of each rule.",
    )


class AllocationFileQuery(AllocationMonths):
    format = serializers.ChoiceField(default=FileFormat.CSV.value, choices=FORMATS)
    bom = serializers.BooleanField(
        default=False, help_text="Begin a CSV file with a byte order mark, so that Excel reads it as UTF-8."
    )


class AllocationMonthsQuery(BasisQuery):
    months = serializers.IntegerField(default=12, min_value=1, max_value=MAX_MONTHS, help_text="Until this month.")


class TargetCostBody(ResponseBody):
    target: Annotated[str, about("A team, end user or tag. Empty: usage without one.")]
    direct_usd: Annotated[Amount, about("The cost of usage that names it, before the rules.")]
    taken_usd: Annotated[Amount, about("What rules have split of it.")]
    given_usd: Annotated[Amount, about("Its shares of what rules have split.")]
    total_usd: Annotated[Amount, about("After the rules: direct, without taken, with given.")]


class GivenShare(ResponseBody):
    target: str
    amount_usd: Amount
    percent: Annotated[float, about("Of what the rule has split. Rounded to 6 decimals.")]


class RuleResultBody(ResponseBody):
    name: str
    version_id: Annotated[int | None, about("Null for a rule that is not stored.")]
    method: Annotated[str, choice(SplitMethod.choices)]
    measure: Annotated[str | None, choice([*SplitMeasure.choices])]
    source_usd: Annotated[Amount, about("The cost of the usage that the rule is about.")]
    is_split: Annotated[bool, about("False: no target had usage to divide by, so the cost stays where it is.")]
    shares: list[GivenShare]


class AllocationBody(ResponseBody):
    month: str
    by: Annotated[str, choice(AllocationTarget.choices)]
    tag_prefix: str
    timezone: str
    currency: str
    cost_usd: Annotated[Amount, about("All cost of the month, the same before and after the rules.")]
    direct_share: Annotated[float | None, about("The share of the cost whose usage names a target."), _SHARE]
    allocated_share: Annotated[float | None, about("The share that has a target after the rules."), _SHARE]
    unallocated: TargetCostBody
    targets: Annotated[list[TargetCostBody], about("The most expensive first. With `unallocated` they add up.")]
    rules: Annotated[list[RuleResultBody], about("In the order in which they apply.")]
    is_booked: Annotated[bool, about("True: by time of booking, as in the statement, because months are closed.")]
    closed_at: Annotated[datetime | None, about("When the month was closed. It no longer changes.")]
    as_of: datetime


class MonthShares(ResponseBody):
    month: str
    cost_usd: Amount
    direct_usd: Annotated[Amount, about("Of usage that names a target.")]
    allocated_usd: Annotated[Amount, about("With a target after the rules.")]
    unallocated_usd: Amount
    direct_share: Annotated[float | None, _SHARE]
    allocated_share: Annotated[float | None, _SHARE]


class AllocationMonthsBody(ResponseBody):
    by: Annotated[str, choice(AllocationTarget.choices)]
    tag_prefix: str
    months: Annotated[list[MonthShares], about("Oldest first.")]
    as_of: datetime


class SourceSerializer(StrictSerializer):
    """Which usage it is: with one of the values of each parameter. An empty value is usage without one."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            name: serializers.ListField(
                required=False,
                max_length=MAX_VALUES,
                child=NameField(allow_blank=True),
                help_text=_SOURCE_TEXTS.get(name),
            )
            for name in (*SOURCE_PARAMETERS, TAG)
        }


_SOURCE_TEXTS = {"client_id": "API credentials.", "tag": "Tags. Read from single events, up to 500,000 in a month."}


class RuleTarget(StrictSerializer):
    name = NameField()
    percent = AmountInputField(
        required=False, allow_null=True, max_digits=15, decimal_places=12, help_text="With the method `fixed`."
    )


class NewAllocationRule(BasisQuery):
    """A new version of a rule."""

    name = serializers.CharField(max_length=MAX_NAME_LENGTH, help_text="A stored name: a new version of that rule.")
    starts = MonthField(help_text="The first month to which the version applies.")
    method = serializers.ChoiceField(choices=SplitMethod.choices)
    measure = serializers.ChoiceField(required=False, allow_null=True, choices=SplitMeasure.choices)
    measures_source = serializers.BooleanField(
        default=False,
        help_text="Measure only the targets' usage among what is split. Default: all their usage in the month.",
    )
    source = SourceSerializer(default=dict)  # type: ignore[assignment] # DRF takes declared fields out of the class
    without_target_only = serializers.BooleanField(
        default=True, help_text="Split only usage that names no target. Else all usage of `source`."
    )
    targets = serializers.ListField(
        child=RuleTarget(),
        default=list,
        max_length=MAX_TARGETS,
        help_text="Who gets a share. Empty: every target with usage in the month.",
    )
    position = serializers.IntegerField(
        default=1, min_value=1, max_value=MAX_POSITION, help_text="Usage of several rules belongs to the lowest one."
    )

    def validate_targets(self, targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len({target["name"] for target in targets}) < len(targets):
            raise serializers.ValidationError("Each target once.")
        return targets


class AllocationPreview(NewAllocationRule):
    month = MonthField(
        required=False, help_text="The month to show. Default: `starts`, or this month if that is later."
    )


class EndAllocationRule(StrictSerializer):
    starts = MonthField(help_text="The first month to which the rule does not apply.")


class AllocationRuleTargetBody(ResponseBody):
    name: str
    percent: Amount | None


class AllocationRuleBody(ResponseBody):
    id: int
    by: Annotated[str, choice(AllocationTarget.choices)]
    tag_prefix: str
    name: str
    starts: Annotated[str, about("The first month to which the version applies.", "2026-11")]
    ended: Annotated[bool, about("True: the version ends the rule.")]
    applies: Annotated[bool, about("Whether it applies to the current month.")]
    position: int
    source: dict[str, list[str]]
    without_target_only: bool
    method: Annotated[str, choice(SplitMethod.choices)]
    measure: Annotated[str | None, choice([*SplitMeasure.choices])]
    measures_source: bool
    targets: list[AllocationRuleTargetBody]
    actor: Annotated[str, about("Email address or Client ID.")]
    created_at: datetime


class AllocationRulesBody(ResponseBody):
    results: Annotated[list[AllocationRuleBody], about("All versions, by name and the newest first.")]


class AllocationView(OrganizationScopedAPIView):
    """The base of the endpoints of allocation."""

    resource = USAGE
    requires_api_plan: ClassVar[bool] = True
    reads_replica: ClassVar[bool] = True

    def query(self, serializer: type[StrictSerializer]) -> dict[str, Any]:
        given = {name: value for name, value in self.request.query_params.items() if name != "organization"}
        return validated(serializer, given)


class UsageAllocationView(AllocationView):
    """`GET /usage/allocation`"""

    @extend_schema(operation_id="usage_allocation", parameters=[AllocationQuery], responses=AllocationBody)
    def get(self, request: Request) -> Response:
        """Get the cost of each team, end user or tag in a month, before and after the rules that split shared cost.

        Each share is exact, and all of them add up to the cost of the month."""
        query, now = self.query(AllocationQuery), utc_now()
        month = query.get("month") or this_month(self.organization, now)
        (allocation,) = allocations(
            organization=self.organization,
            basis=basis_of(query),
            months=[month_of(self.organization, month, rights=self.plan_rights, now=now)],
        )
        return Response(_allocation(allocation, self.organization.time_zone, now))


class UsageAllocationMonthsView(AllocationView):
    """`GET /usage/allocation/months`"""

    @extend_schema(
        operation_id="usage_allocation_months", parameters=[AllocationMonthsQuery], responses=AllocationMonthsBody
    )
    def get(self, request: Request) -> Response:
        """Get the share of each month's cost that has a team, end user or tag, before and after the rules."""
        query, now = self.query(AllocationMonthsQuery), utc_now()
        months = last_months(this_month(self.organization, now), query["months"])
        basis = basis_of(query)
        shown = visible_months(self.organization, months, rights=self.plan_rights, now=now)
        by_month = allocations(organization=self.organization, basis=basis, months=shown)
        return Response(
            AllocationMonthsBody(
                by=basis.target.value, tag_prefix=basis.tag_prefix, months=list(map(_shares, by_month)), as_of=now
            )
        )


class UsageAllocationFileView(AllocationView):
    """`GET /usage/allocation/file`"""

    renderer_classes = (CsvRenderer, JSONRenderer, ParquetRenderer)
    content_negotiation_class = ErrorsInJson

    @extend_schema(
        operation_id="usage_allocation_file",
        parameters=[AllocationFileQuery],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="A header and the rows, in UTF-8."),
            (200, CONTENT_TYPES[FileFormat.JSON]): OpenApiResponse(
                {"type": "array", "items": {"type": "object"}}, description="An object per row; amounts are strings."
            ),
            (200, CONTENT_TYPES[FileFormat.PARQUET]): OpenApiResponse(
                OpenApiTypes.BINARY, description="Amounts are decimals."
            ),
            403: OpenApiResponse(
                description="The scope is missing, or the plan has no exports (`plan_without_exports`)."
            ),
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Export the allocation of months as CSV, JSON or Parquet. The rows of a month add up to its cost."""
        self.plan_rights.check_exports()
        given = self.query(AllocationFileQuery)
        query = allocation_file(self.access, given)
        table, name = query.table(self.organization, user_of(self.access)), query.file_name(self.organization)
        return file_response(table, name, FileFormat(given["format"]), with_bom=given["bom"])


class UsageAllocationRulesView(AllocationView):
    """`GET` and `POST /usage/allocation/rules`"""

    @extend_schema(operation_id="usage_allocation_rules", parameters=[BasisQuery], responses=AllocationRulesBody)
    def get(self, request: Request) -> Response:
        """List all versions of the rules that split shared cost."""
        rows = list_rules(self.organization, basis_of(self.query(BasisQuery)))
        applying = {rule.version for rule in applicable(rows, this_month(self.organization, utc_now()))}
        return Response(AllocationRulesBody(results=[_rule(row, applies=row.pk in applying) for row in rows]))

    @extend_schema(
        operation_id="usage_allocation_rules_create",
        request=NewAllocationRule,
        responses={201: AllocationRuleBody, 409: OpenApiResponse(description="The month is closed.")},
    )
    def post(self, request: Request) -> Response:
        """Store a version of a rule. It applies from its month on, until a later version of the same name does."""
        now = utc_now()
        rule = new_rule(validated(NewAllocationRule, request.data))
        row = create_rule(organization=self.organization, rule=rule, actor=self.principal.label, now=now)
        versions = list_rules(self.organization, rule.basis)
        applying = {rule.version for rule in applicable(versions, this_month(self.organization, now))}
        return Response(_rule(row, applies=row.pk in applying), status=201)


class UsageAllocationRuleEndView(AllocationView):
    """`POST /usage/allocation/rules/{id}/end`"""

    @extend_schema(
        operation_id="usage_allocation_rules_end",
        request=EndAllocationRule,
        responses={
            201: AllocationRuleBody,
            409: OpenApiResponse(description="The rule has ended, or the month is closed."),
        },
    )
    def post(self, request: Request, pk: int) -> Response:
        """End the rule of a version from a month on. Earlier months stay as they are."""
        body, now = validated(EndAllocationRule, request.data), utc_now()
        version = AllocationRule.objects.of(self.organization).get_or_not_found("rule", pk=pk)
        row = end_rule(
            organization=self.organization,
            basis=AllocationBasis(AllocationTarget(version.target), version.tag_prefix),
            name=version.name,
            starts=body["starts"],
            actor=self.principal.label,
            now=now,
        )
        return Response(_rule(row, applies=False), status=201)


class UsageAllocationPreviewView(AllocationView):
    """`POST /usage/allocation/preview`"""

    only_reads: ClassVar[bool] = True

    @extend_schema(
        operation_id="usage_allocation_preview",
        request=AllocationPreview,
        responses={200: AllocationBody, 409: OpenApiResponse(description="The month is closed.")},
    )
    def post(self, request: Request) -> Response:
        """Show what a month would be with a version of a rule. Nothing is stored."""
        body, now = validated(AllocationPreview, request.data), utc_now()
        rule = new_rule(body)
        draft = validate_rule(organization=self.organization, rule=rule, now=now)
        month = body.get("month") or min(rule.starts, this_month(self.organization, now))
        (allocation,) = allocations(
            organization=self.organization,
            basis=rule.basis,
            months=[month_of(self.organization, month, rights=self.plan_rights, now=now)],
            draft=draft,
        )
        return Response(_allocation(allocation, self.organization.time_zone, now))


def allocation_file(access: Access, given: dict[str, Any]) -> AllocationFile:
    """Return the file of months. Raises ForbiddenError if the plan shows nothing of them."""
    organization, rights, now = access.organization, PlanRights.of(access), utc_now()
    month = given.get("month") or this_month(organization, now)
    months = visible_months(organization, last_months(month, given["months"]), rights=rights, now=now)
    return AllocationFile(
        basis=basis_of(given),
        months=tuple(months or [month_of(organization, month, rights=rights, now=now)]),
        rows=AllocationRows(given["rows"]),
    )


def basis_of(values: dict[str, Any]) -> AllocationBasis:
    return AllocationBasis(AllocationTarget(values["by"]), values.get("tag_prefix", ""))


def new_rule(body: dict[str, Any]) -> NewRule:
    measure = body.get("measure")
    return NewRule(
        basis=basis_of(body),
        name=body["name"],
        starts=body["starts"],
        method=SplitMethod(body["method"]),
        source=body["source"],
        without_target_only=body["without_target_only"],
        position=body["position"],
        measure=SplitMeasure(measure) if measure is not None else None,
        measures_source=body["measures_source"],
        targets={target["name"]: target.get("percent") for target in body["targets"]},
    )


def _allocation(allocation: Allocation, time_zone: str, now: datetime) -> AllocationBody:
    return AllocationBody(
        month=_month(allocation.month),
        by=allocation.basis.target.value,
        tag_prefix=allocation.basis.tag_prefix,
        timezone=time_zone,
        currency="USD",
        cost_usd=Amount.of(allocation.cost_usd),
        direct_share=allocation.direct_share,
        allocated_share=allocation.allocated_share,
        unallocated=_target(allocation.unallocated),
        targets=list(map(_target, allocation.targets)),
        rules=list(map(_result, allocation.rules)),
        is_booked=allocation.is_booked,
        closed_at=allocation.closed_at,
        as_of=now,
    )


def _target(row: TargetCost) -> TargetCostBody:
    return TargetCostBody.of(row)


def _result(result: RuleResult) -> RuleResultBody:
    rule, total = result.rule, sum(result.weights.values())
    return RuleResultBody(
        name=rule.name,
        version_id=rule.version,
        method=rule.method.value,
        measure=rule.measure.value if rule.measure is not None else None,
        source_usd=Amount.of(result.source_usd),
        is_split=result.is_split,
        shares=[
            GivenShare(name, Amount.of(amount), round(float(result.weights[name] / total * 100), 6))
            for name, amount in result.given.items()
        ],
    )


def _shares(allocation: Allocation) -> MonthShares:
    cost, unallocated = allocation.cost_usd, allocation.unallocated
    return MonthShares(
        month=_month(allocation.month),
        cost_usd=Amount.of(cost),
        direct_usd=Amount.of(cost - unallocated.direct_usd),
        allocated_usd=Amount.of(cost - unallocated.total_usd),
        unallocated_usd=Amount.of(unallocated.total_usd),
        direct_share=allocation.direct_share,
        allocated_share=allocation.allocated_share,
    )


def _rule(row: AllocationRule, *, applies: bool) -> AllocationRuleBody:
    return AllocationRuleBody(
        id=row.pk,
        by=row.target,
        tag_prefix=row.tag_prefix,
        name=row.name,
        starts=_month(row.starts),
        ended=row.is_ended,
        applies=applies,
        position=row.position,
        source=row.source,
        without_target_only=row.without_target_only,
        method=row.method,
        measure=row.measure or None,
        measures_source=row.measures_source,
        targets=[
            AllocationRuleTargetBody(name, Amount.of(Decimal(share)) if share is not None else None)
            for name, share in sorted(row.targets.items())
        ],
        actor=row.actor,
        created_at=row.created_at,
    )


def _month(month: date) -> str:
    return f"{month:%Y-%m}"
