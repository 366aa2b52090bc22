"""`GET /usage/limits` and `/usage/own`: the current status of limits. (They are managed under
`/organizations/{slug}/limits`.)
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Annotated, Any, ClassVar, Literal

from drf_spectacular.utils import extend_schema
from msgspec import UNSET, Meta, UnsetType
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import LimitEndpoint, operation
from billing.api.queries import validated_query
from billing.api.usage.authorizations import LimitConditionBody
from billing.api.usage.figures import SpendBody, local_formatter, spend_body
from billing.limits.cache import known_value, limit_set
from billing.limits.status import LimitFilter, PerValueStatus, list_limits, percent_of, statuses
from billing.limits.types import Dimensions, LimitStatus, ManualOverride, Rule
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.own import own_limits, own_usage
from billing.reports.usage.totals import spend_now
from billing.types import LimitAction, LimitScope, LimitState, LimitUnit, LimitWindow, OverrideKind
from costtrack.calendar import Preset
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.responses import Amount, OneOf, ResponseBody, about
from costtrack.serializers import StrictSerializer, optional_text
from organizations.api.base import OrganizationScopedAPIView
from organizations.models import APICredential, Organization
from organizations.principals import Access
from organizations.selectors import own_membership, own_user_ids
from organizations.types import Environment, Scope

_HUNDREDTH = Decimal("0.01")


class ManualOverrideBody(ResponseBody):
    reason: str
    until: Annotated[datetime | None, about("Null: until it is ended.")]


class _Settings(ResponseBody, kw_only=True):
    """The settings of a limit."""

    id: int
    scope: LimitScope
    scope_value: Annotated[str, about("The value that the limit applies to (a credential by its Client ID).", "ada")]
    conditions: Annotated[
        list[LimitConditionBody] | UnsetType,
        about("Further conditions that a call must meet; absent if there are none."),
    ] = UNSET
    of_each: Annotated[bool, about("True for a per-value limit.")]
    window: LimitWindow
    unit: Annotated[
        LimitUnit | UnsetType, about("Of all amounts, also those whose names end in `_usd`; absent: US dollars.")
    ] = UNSET
    action: LimitAction
    amount_usd: Annotated[Amount, about("The current amount.", "50")]
    base_amount_usd: Annotated[Amount, about("The amount without a temporary raise.", "50")]
    raised_until: Annotated[datetime | None, about("When the temporary raise ends.")]
    soft_amount_usd: Amount | None
    thresholds: Annotated[list[int], about("In percent of the amount.", [80, 95, 100])]
    paused_by_hand: ManualOverrideBody | None
    opened_by_hand: Annotated[ManualOverrideBody | None, about("Access is allowed regardless of spend.")]


class LimitStatusBody(_Settings, kw_only=True):
    """A limit of one value with its balance and state."""

    spent_usd: Annotated[Amount, about("Exact spend in the window.", "41.25")]
    reserved_usd: Annotated[Amount, about("Reserved by open authorizations.", "0.75")]
    remaining_usd: Annotated[Amount, about("The amount that is still available.", "8")]
    percent: Annotated[float, about("Share of the amount that is spent, rounded down to two decimals.", 82.5)]
    state: LimitState
    window_start: Annotated[datetime | None, about("Null if spend is counted without a start.")]
    window_end: Annotated[datetime | None, about("Null for rolling and unlimited windows.")]
    resets_at: Annotated[
        datetime | None,
        about("When spend falls below the amount if nothing else is spent. Null if already below, or unknown."),
    ]
    as_of: Annotated[datetime, about("The figures include everything acknowledged before.")]
    unpriced_events: Annotated[int, about("Events in the window whose cost is unknown.")]
    unpriced_since: Annotated[
        datetime | UnsetType,
        about("Start of the hour of the first of them. Absent if there is none, or if only older hours have some."),
    ] = UNSET
    hit_at: Annotated[
        datetime | None,
        about(
            "When the amount will be reached at the present pace, by weekday and hour of the last weeks; with less "
            "than a week of history, at the rate of the last 24 hours. Null if not before the window ends."
        ),
    ]


class PerValueLimit(_Settings):
    """A per-value limit; its `scope_value` is empty."""

    values: Annotated[
        list[LimitStatusBody],
        about(
            "Up to 50 values that reached a threshold or have an override, the largest share first; or the given one."
        ),
    ]
    values_left_out: Annotated[int, about("How many more values may have reached a threshold.")]
    values_used: Annotated[
        int | None, about("How many values have usage in the window. Null if a single value was requested.")
    ]


class _LimitsBody(ResponseBody):
    """Fields that every response about limits has."""

    organization: Annotated[str, Meta(examples=["acme"])]
    plan: Annotated[str, Meta(examples=["pay_as_you_go"])]
    currency: Literal["USD"]
    timezone: Annotated[str, about("Time zone of calendar windows.", "Europe/Berlin")]
    week_start: Annotated[int, about("1 is Monday.", 1)]
    as_of: datetime


class LimitStatuses(_LimitsBody):
    limits: Annotated[
        list[Any],
        Meta(
            description="In order of creation.",
            extra={"items": OneOf("AnyLimitStatus", (LimitStatusBody, PerValueLimit))},
        ),
    ]


class Own(_LimitsBody):
    client_id: Annotated[str, Meta(examples=["ct_9f8a2b7c6d5e4f3a2b1c"])]
    name: Annotated[str, Meta(examples=["nightly reports"])]
    environment: Environment
    spend: Annotated[SpendBody, about("Spend of this credential until now, by the calendar of the organization.")]
    limits: Annotated[list[LimitStatusBody], about("Limits of the organization and of the credential.")]


class OwnModel(ResponseBody):
    model: Annotated[str, Meta(examples=["gpt-4o"])]
    requests: int
    cost_usd: Amount


class OwnOfMember(_LimitsBody):
    """The usage of a member: everything with one of the `user_ids`."""

    user_ids: Annotated[list[str], Meta(examples=[["ada@acme.example"]])]
    spend: Annotated[SpendBody, about("Spend until now, by the calendar of the organization.")]
    models: Annotated[list[OwnModel], about("Of the last 30 days, the most expensive first.")]
    unpriced_events: Annotated[int, about("Events of the last 30 days whose cost is unknown.")]
    limits: Annotated[list[LimitStatusBody], about("Limits of these users.")]


class LimitsQuery(StrictSerializer):
    """Filters; an empty value is ignored."""

    scope = serializers.ChoiceField(required=False, allow_blank=True, choices=LimitScope.choices)
    scope_value = optional_text(
        "Only this value of `scope` (a credential by its Client ID), including per-value limits."
    )
    state = serializers.ChoiceField(required=False, allow_blank=True, choices=LimitState.choices)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("scope_value") and not attrs.get("scope"):
            raise serializers.ValidationError({"scope": "Required with scope_value."}, code="required")
        return attrs


class OwnQuery(StrictSerializer):
    """No parameters besides the organization, which is optional for a credential."""


class UsageLimitsView(LimitEndpoint, OrganizationScopedAPIView):
    """`GET /usage/limits`"""

    @operation("usage_limits", LimitsQuery, LimitStatuses)
    def get(self, request: Request) -> Response:
        """List limits with spend, reservations, remaining amount, state, reset time and, at the current rate, when
        they will be reached. Members and credentials with `costs:read` see all limits; other credentials see those
        of the organization and their own."""
        params, now = validated_query(LimitsQuery, request.query_params), utc_now()
        limits = limit_bodies(_list_limits(self.organization, self.access, params, now))
        return Response(LimitStatuses(**_common_fields(self.organization, now), limits=limits))


class UsageOwnView(LimitEndpoint, OrganizationScopedAPIView):
    """`GET /usage/own`"""

    is_own: ClassVar[bool] = True

    @extend_schema(operation_id="usage_own", responses=OneOf("OwnUsage", (Own, OwnOfMember)))
    def get(self, request: Request) -> Response:
        """Get the spend of this credential, with any scopes, today, in the last seven days and this month, and its
        limits; or those of the signed-in member: everything with one of the member's `user_id`s."""
        validated_query(OwnQuery, request.query_params)
        if self.principal.user is not None:
            return Response(self._of_member())
        credential, now = self._credential(), utc_now()
        rules = limit_set(self.organization).rules_for(Dimensions(credential_id=credential.pk), now=now)
        filters = UsageFilter(client_id=credential.client_id)
        spend = spend_now(organization=self.organization, filters=filters, now=now)
        body = Own.of(
            credential,
            **_common_fields(self.organization, now),
            spend=spend_body(local_formatter(self.organization.calendar), spend),
            limits=limit_bodies(statuses(organization=self.organization, rules=rules, now=now)),
        )
        return Response(body)

    def _of_member(self) -> OwnOfMember:
        user_ids, now = own_user_ids(self.organization, own_membership(self.access)), utc_now()
        window = self.organization.calendar.preset(Preset.DAYS_30, now)
        usage = own_usage(organization=self.organization, user_ids=user_ids, window=window, now=now)
        return OwnOfMember(
            **_common_fields(self.organization, now),
            user_ids=user_ids,
            spend=spend_body(local_formatter(self.organization.calendar), usage.spend),
            models=[OwnModel.of(model=row.name, requests=row.calls, cost_usd=row.spend) for row in usage.models],
            unpriced_events=usage.unpriced_events,
            limits=[
                _limit(status) for status in own_limits(organization=self.organization, user_ids=user_ids, now=now)
            ],
        )

    def _credential(self) -> APICredential:
        credential = self.principal.credential
        if credential is None or credential.organization_id is None:
            message = "Only members and credentials of an organization have usage of their own. Use /usage/summary."
            raise InvalidError(message, code="not_a_credential")
        return credential


def limit_bodies(limit_statuses: Iterable[LimitStatus | PerValueStatus]) -> list[LimitStatusBody | PerValueLimit]:
    return [
        _per_value_limit(status) if isinstance(status, PerValueStatus) else _limit(status) for status in limit_statuses
    ]


def _common_fields(organization: Organization, now: datetime) -> dict[str, Any]:
    return {
        "organization": organization.slug,
        "plan": organization.plan_id,
        "currency": "USD",
        "timezone": organization.time_zone,
        "week_start": organization.week_start,
        "as_of": now,
    }


def _limit(status: LimitStatus) -> LimitStatusBody:
    evaluation = status.evaluation
    return LimitStatusBody.of(
        evaluation,
        status,
        **_settings(status.rule),
        # Rounded down, so that it never shows a threshold that is not reached.
        percent=float(percent_of(status).quantize(_HUNDREDTH, rounding=ROUND_DOWN)),
        window_start=evaluation.span.start,
        window_end=evaluation.span.end,
        unpriced_events=status.unpriced,
        unpriced_since=status.unpriced_since or UNSET,
    )


def _per_value_limit(each: PerValueStatus) -> PerValueLimit:
    values = [_limit(status) for status in each.values]
    return PerValueLimit.of(**_settings(each.rule), values=values, values_left_out=each.left_out, values_used=each.used)


def _condition(condition: tuple[LimitScope, str]) -> LimitConditionBody:
    scope, value = condition
    return LimitConditionBody(scope=scope, scope_value=value)


def _settings(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.limit_id,
        "scope": rule.scope,
        "scope_value": rule.display_value,
        "of_each": rule.is_per_value,
        "window": rule.window,
        "action": rule.action,
        "amount_usd": rule.amount_usd,
        "base_amount_usd": rule.base_amount_usd,
        "raised_until": rule.raised_until,
        **({"conditions": [*map(_condition, rule.further)]} if rule.further else {}),
        **({"unit": rule.unit} if rule.unit is not LimitUnit.USD else {}),
        "soft_amount_usd": rule.soft_amount_usd,
        "thresholds": rule.thresholds,
        "paused_by_hand": _override(rule.manual_override, OverrideKind.PAUSE),
        "opened_by_hand": _override(rule.manual_override, OverrideKind.OPEN),
    }


def _override(manual_override: ManualOverride | None, kind: OverrideKind) -> ManualOverrideBody | None:
    if manual_override is None or manual_override.kind is not kind:
        return None
    return ManualOverrideBody.of(manual_override)


def _list_limits(
    organization: Organization, access: Access, params: dict[str, Any], now: datetime
) -> list[LimitStatus | PerValueStatus]:
    scope = LimitScope(params["scope"]) if params.get("scope") else None
    value: str | None = params.get("scope_value") or None
    if value is not None and scope is LimitScope.CREDENTIAL:
        value = _credential_value(organization, value)
        if value is None:
            return []
    elif value is not None and scope is not None:
        value = known_value(organization, scope, value, now=now)
    filters = LimitFilter(
        scope=scope,
        value=value,
        state=LimitState(params["state"]) if params.get("state") else None,
        of_credential=_visible_credential(access),
    )
    return list_limits(organization=organization, filters=filters, now=now)


def _visible_credential(access: Access) -> str | None:
    """Return the value of the credential whose limits alone are visible, or None for all."""
    credential = access.principal.credential
    return str(credential.pk) if credential is not None and Scope.COSTS_READ not in access.scopes else None


def _credential_value(organization: Organization, client_id: str) -> str | None:
    """Return the id of a credential as a limit value, or None if the organization has no such Client ID."""
    credential_id = (
        APICredential.objects.of(organization).filter(client_id=client_id).values_list("pk", flat=True).first()
    )
    return str(credential_id) if credential_id is not None else None
