"""Response bodies of limits with their balances. Responses are built without serializers, which only describe them
in the OpenAPI document.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from billing.api.usage.events import AmountField
from billing.limits.status import PerValueStatus, percent_of
from billing.limits.types import LimitStatus, ManualOverride, Rule
from billing.types import LimitAction, LimitScope, LimitState, LimitWindow, OverrideKind
from costtrack.clock import iso
from costtrack.money import plain
from organizations.models import Organization

Json = dict[str, Any]

CURRENCY = "USD"
_HUNDREDTH = Decimal("0.01")


@extend_schema_serializer(component_name="ByHand")
class ManualOverrideSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True, help_text="Null: until it is ended.")


class TermsSerializer(serializers.Serializer[Any]):
    """The terms of a limit."""

    id = serializers.IntegerField()
    scope = serializers.ChoiceField(choices=LimitScope.choices)
    scope_value = serializers.CharField(
        help_text="The value that the limit applies to (a credential by its Client ID)."
    )
    of_each = serializers.BooleanField(help_text="True for a per-value limit.")
    window = serializers.ChoiceField(choices=LimitWindow.choices)
    action = serializers.ChoiceField(choices=LimitAction.choices)
    amount_usd = AmountField(help_text="The current amount.")
    base_amount_usd = AmountField(help_text="The amount without a temporary raise.")
    raised_until = serializers.DateTimeField(allow_null=True, help_text="When the temporary raise ends.")
    soft_amount_usd = AmountField(allow_null=True)
    thresholds = serializers.ListField(child=serializers.IntegerField(), help_text="In percent of the amount.")
    paused_by_hand = ManualOverrideSerializer(allow_null=True)
    opened_by_hand = ManualOverrideSerializer(allow_null=True, help_text="Access is allowed regardless of spend.")


@extend_schema_serializer(component_name="Standing")
class LimitStatusSerializer(TermsSerializer):
    """A limit of one value with its balance and state."""

    spent_usd = AmountField(help_text="Exact spend in the window.")
    reserved_usd = AmountField(help_text="Reserved by open authorizations.")
    remaining_usd = AmountField(help_text="The amount that is still available.")
    percent = serializers.FloatField(help_text="Share of the amount that is spent, rounded down to two decimals.")
    state = serializers.ChoiceField(choices=LimitState.choices)
    window_start = serializers.DateTimeField(allow_null=True, help_text="Null if spend is counted without a start.")
    window_end = serializers.DateTimeField(allow_null=True, help_text="Null for rolling and unlimited windows.")
    resets_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When spend falls below the amount if nothing else is spent. Null if already below, or unknown.",
    )
    as_of = serializers.DateTimeField(help_text="The figures include everything acknowledged before.")
    unpriced_events = serializers.IntegerField(help_text="Events in the window whose cost is unknown.")
    hit_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When the amount will be reached at the rate of the last 24 hours (or since the window started).",
    )


@extend_schema_serializer(component_name="OfEach")
class PerValueLimitSerializer(TermsSerializer):
    """A per-value limit; its `scope_value` is empty."""

    values = LimitStatusSerializer(
        many=True,
        help_text="Up to 50 values that reached a threshold or have an override, the largest share first; or the "
        "requested value.",
    )
    values_left_out = serializers.IntegerField(help_text="How many more values may have reached a threshold.")
    values_used = serializers.IntegerField(
        allow_null=True,
        help_text="How many values have usage in the window. Null if a single value was requested.",
    )


class HeadSerializer(serializers.Serializer[Any]):
    """Fields that every response about limits has."""

    organization = serializers.CharField()
    plan = serializers.CharField()
    currency = serializers.ChoiceField(choices=[CURRENCY])
    timezone = serializers.CharField(help_text="Time zone of calendar windows.")
    week_start = serializers.IntegerField(help_text="1 is Monday.")
    as_of = serializers.DateTimeField()


@extend_schema_field(
    PolymorphicProxySerializer(
        "LimitStanding", [LimitStatusSerializer, PerValueLimitSerializer], resource_type_field_name=None, many=True
    )
)
class LimitStatusesField(serializers.ListField):
    pass


@extend_schema_serializer(component_name="Standings")
class LimitStatusesSerializer(HeadSerializer):
    limits = LimitStatusesField(help_text="In order of creation.")


def common_fields(organization: Organization, now: datetime) -> Json:
    return {
        "organization": organization.slug,
        "plan": organization.plan_id,
        "currency": CURRENCY,
        "timezone": organization.time_zone,
        "week_start": organization.week_start,
        "as_of": iso(now),
    }


def limit_bodies(statuses: Iterable[LimitStatus | PerValueStatus]) -> list[Json]:
    return [per_value_body(status) if isinstance(status, PerValueStatus) else limit_body(status) for status in statuses]


def limit_body(status: LimitStatus) -> Json:
    evaluation = status.evaluation
    return {
        **_terms(status.rule),
        "spent_usd": plain(evaluation.spent_usd),
        "reserved_usd": plain(evaluation.reserved_usd),
        "remaining_usd": plain(evaluation.remaining_usd),
        # Rounded down, so that it never shows a threshold that is not reached.
        "percent": float(percent_of(status).quantize(_HUNDREDTH, rounding=ROUND_DOWN)),
        "state": evaluation.state.value,
        "window_start": _instant(evaluation.span.start),
        "window_end": _instant(evaluation.span.end),
        "resets_at": _instant(evaluation.resets_at),
        "as_of": iso(evaluation.as_of),
        "unpriced_events": status.unpriced,
        "hit_at": _instant(status.hit_at),
    }


def per_value_body(each: PerValueStatus) -> Json:
    return {
        **_terms(each.rule),
        "values": [limit_body(status) for status in each.values],
        "values_left_out": each.left_out,
        "values_used": each.used,
    }


def _terms(rule: Rule) -> Json:
    return {
        "id": rule.limit_id,
        "scope": rule.scope.value,
        "scope_value": rule.display_value,
        "of_each": rule.is_per_value,
        "window": rule.window.value,
        "action": rule.action.value,
        "amount_usd": plain(rule.amount_usd),
        "base_amount_usd": plain(rule.base_amount_usd),
        "raised_until": _instant(rule.raised_until),
        "soft_amount_usd": plain(rule.soft_amount_usd) if rule.soft_amount_usd is not None else None,
        "thresholds": list(rule.thresholds),
        "paused_by_hand": _override_body(rule.manual_override, OverrideKind.PAUSE),
        "opened_by_hand": _override_body(rule.manual_override, OverrideKind.OPEN),
    }


def _override_body(manual_override: ManualOverride | None, kind: OverrideKind) -> Json | None:
    if manual_override is None or manual_override.kind is not kind:
        return None
    return {"reason": manual_override.reason, "until": _instant(manual_override.until)}


def _instant(at: datetime | None) -> str | None:
    return iso(at) if at is not None else None
