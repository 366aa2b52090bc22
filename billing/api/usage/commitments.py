"""`/usage/commitments`: subscriptions and provisioned capacity, and what they cover."""

from datetime import datetime
from typing import Annotated, ClassVar

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.usage.allocation import SourceSerializer
from billing.commitments import (
    MAX_NAME_LENGTH,
    MAX_TOKENS_PER_MINUTE,
    NewCommitment,
    create_commitment,
    end_commitment,
)
from billing.models import Commitment
from billing.reports.commitments import CommitmentReport, CommitmentUse, commitment_report, list_commitments
from billing.reports.months import month_of, this_month
from billing.types import CommitmentKind, FeePeriod
from costtrack.clock import utc_now
from costtrack.date_fields import DayField, MonthField
from costtrack.money import DECIMALS, DIGITS
from costtrack.responses import Amount, ResponseBody, about, choice
from costtrack.serializers import AmountInputField, StrictSerializer, validated
from organizations.api.base import OrganizationScopedAPIView
from organizations.permissions import USAGE

_DECIMALS_OF_RATIOS = 12
_DECIMALS_OF_SHARES = 6


class CommitmentBody(ResponseBody):
    id: int
    name: str
    kind: Annotated[str, choice(CommitmentKind.choices)]
    amount_usd: Amount
    period: Annotated[str, choice(FeePeriod.choices)]
    starts: Annotated[str, about("The first day, in the organization's time zone.", "2026-11-01")]
    ends: Annotated[str | None, about("The last day. Null: no end.")]
    covers: Annotated[dict[str, list[str]], about("Usage with one of the values of each parameter.")]
    tokens_per_minute: int | None
    actor: Annotated[str, about("Email address or Client ID.")]
    created_at: datetime


class CommitmentsBody(ResponseBody):
    results: Annotated[list[CommitmentBody], about("By start. Usage of several belongs to the first.")]


class NewCommitmentSerializer(StrictSerializer):
    name = serializers.CharField(max_length=MAX_NAME_LENGTH)
    kind = serializers.ChoiceField(choices=CommitmentKind.choices)
    amount_usd = AmountInputField(max_digits=DIGITS, decimal_places=DECIMALS, help_text="The fee of each period.")
    period = serializers.ChoiceField(default=FeePeriod.MONTH.value, choices=FeePeriod.choices)
    starts = DayField(help_text="The first day, in the organization's time zone.")
    ends = DayField(allow_null=True, default=None, help_text="The last day. Null: no end.")
    covers = SourceSerializer(help_text="The usage that the fee covers.")
    tokens_per_minute = serializers.IntegerField(
        allow_null=True,
        default=None,
        min_value=1,
        max_value=MAX_TOKENS_PER_MINUTE,
        help_text="What provisioned capacity can process. Without it, the notional cost is compared with the fee.",
    )


class EndCommitmentSerializer(StrictSerializer):
    ends = DayField(help_text="The last day, in the organization's time zone.")


class CommitmentReportQuery(StrictSerializer):
    month = MonthField(required=False, help_text="Default: the current month.")


class CommitmentUseBody(ResponseBody):
    commitment: CommitmentBody
    committed_usd: Annotated[Amount, about("The fee of the month.")]
    accrued_usd: Annotated[Amount, about("The fee of the month until now.")]
    used_usd: Annotated[Amount, about("The used part of the accrued fee.")]
    idle_usd: Annotated[Amount, about("The rest of it.")]
    used_share: Annotated[
        float, about("From 0 to 1: tokens of the capacity or, without one, the notional cost compared with the fee.")
    ]
    requests: int
    total_tokens: int
    notional_usd: Annotated[Amount, about("What the covered usage costs in the ledger.")]
    usd_per_million_tokens: Annotated[
        Amount | None, about("The accrued fee for each million tokens. Null without tokens. Rounded to 12 decimals.")
    ]


class CommitmentReportBody(ResponseBody):
    month: str
    timezone: str
    currency: str
    spend_usd: Annotated[Amount, about("Metered usage and the accrued fees.")]
    metered_usd: Annotated[Amount, about("Usage that no commitment covers.")]
    fees_usd: Annotated[Amount, about("The accrued fees.")]
    idle_usd: Annotated[Amount, about("The idle part of the fees.")]
    notional_usd: Annotated[
        Amount, about("Usage that commitments cover, at its cost in the ledger. With `metered_usd`: the summary.")
    ]
    commitments: list[CommitmentUseBody]
    as_of: datetime


class CommitmentView(OrganizationScopedAPIView):
    """The base of the endpoints of commitments."""

    resource = USAGE
    requires_api_plan: ClassVar[bool] = True
    reads_replica: ClassVar[bool] = True


class UsageCommitmentsView(CommitmentView):
    """`GET` and `POST /usage/commitments`"""

    @extend_schema(operation_id="usage_commitments", responses=CommitmentsBody)
    def get(self, request: Request) -> Response:
        """List subscriptions and provisioned capacity."""
        return Response(CommitmentsBody(results=list(map(_commitment, list_commitments(self.organization)))))

    @extend_schema(
        operation_id="usage_commitments_create", request=NewCommitmentSerializer, responses={201: CommitmentBody}
    )
    def post(self, request: Request) -> Response:
        """Record a fixed fee and the usage that it covers. It changes no event and no limit."""
        body = validated(NewCommitmentSerializer, request.data)
        commitment = NewCommitment(
            **{**body, "kind": CommitmentKind(body["kind"]), "period": FeePeriod(body["period"])}
        )
        row = create_commitment(
            organization=self.organization, commitment=commitment, actor=self.principal.label, now=utc_now()
        )
        return Response(_commitment(row), status=201)


class UsageCommitmentEndView(CommitmentView):
    """`POST /usage/commitments/{id}/end`"""

    @extend_schema(
        operation_id="usage_commitments_end",
        request=EndCommitmentSerializer,
        responses={200: CommitmentBody, 409: OpenApiResponse(description="It ends on that day or earlier already.")},
    )
    def post(self, request: Request, pk: int) -> Response:
        """End a commitment."""
        body = validated(EndCommitmentSerializer, request.data)
        row = end_commitment(
            organization=self.organization, commitment_id=pk, ends=body["ends"], actor=self.principal.label
        )
        return Response(_commitment(row))


class UsageCommitmentReportView(CommitmentView):
    """`GET /usage/commitments/report`"""

    @extend_schema(
        operation_id="usage_commitments_report", parameters=[CommitmentReportQuery], responses=CommitmentReportBody
    )
    def get(self, request: Request) -> Response:
        """Get the fees of a month, what of them is used and idle, what a token actually costs, and the usage that they
        cover, apart from metered usage."""
        given = {name: value for name, value in request.query_params.items() if name != "organization"}
        query, now = validated(CommitmentReportQuery, given), utc_now()
        month = query.get("month") or this_month(self.organization, now)
        report = commitment_report(
            organization=self.organization,
            month=month_of(self.organization, month, rights=self.plan_rights, now=now),
            now=now,
        )
        return Response(_report(report, self.organization.time_zone, now))


def _report(report: CommitmentReport, time_zone: str, now: datetime) -> CommitmentReportBody:
    return CommitmentReportBody.of(
        report,
        month=f"{report.month.month:%Y-%m}",
        timezone=time_zone,
        currency="USD",
        metered_usd=report.metered.cost_usd,
        commitments=list(map(_use, report.uses)),
        as_of=now,
    )


def _use(use: CommitmentUse) -> CommitmentUseBody:
    price = use.usd_per_million_tokens
    return CommitmentUseBody.of(
        use,
        commitment=_commitment(use.commitment),
        used_share=round(float(use.used_share), _DECIMALS_OF_SHARES),
        requests=use.usage.requests,
        total_tokens=use.usage.tokens,
        notional_usd=use.usage.cost_usd,
        usd_per_million_tokens=round(price, _DECIMALS_OF_RATIOS) if price is not None else None,
    )


def _commitment(row: Commitment) -> CommitmentBody:
    return CommitmentBody(
        id=row.pk,
        name=row.name,
        kind=row.kind,
        amount_usd=Amount.of(row.amount_usd),
        period=row.period,
        starts=row.starts.isoformat(),
        ends=row.ends.isoformat() if row.ends is not None else None,
        covers=row.covers,
        tokens_per_minute=row.tokens_per_minute,
        actor=row.actor,
        created_at=row.created_at,
    )
