"""How limits are shown with what is spent under them. The serializers are for the OpenAPI document; answers are written
as they are."""

from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from billing.api.usage.events import AmountField
from billing.limits.listing import EachStatus, percent_of
from billing.limits.types import ByHand, LimitStatus, Rule
from billing.types import ExceptionKind, LimitAction, LimitScope, LimitState, LimitWindow
from costtrack.clock import iso
from costtrack.money import plain
from organizations.models import Organization

Json = dict[str, Any]

CURRENCY = "USD"
_HUNDREDTH = Decimal("0.01")


class ByHandSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True, help_text="Null: until somebody ends it.")


class TermsSerializer(serializers.Serializer[Any]):
    """What a limit says."""

    id = serializers.IntegerField()
    scope = serializers.ChoiceField(choices=LimitScope.choices)
    scope_value = serializers.CharField(help_text="Whose limit it is (a credential by its Client ID).")
    of_each = serializers.BooleanField(help_text="Every value of the scope has the limit for itself.")
    window = serializers.ChoiceField(choices=LimitWindow.choices)
    action = serializers.ChoiceField(choices=LimitAction.choices)
    amount_usd = AmountField(help_text="What holds now.")
    base_amount_usd = AmountField(help_text="What holds without a raise.")
    raised_until = serializers.DateTimeField(allow_null=True, help_text="When the raise ends by itself.")
    soft_amount_usd = AmountField(allow_null=True)
    thresholds = serializers.ListField(child=serializers.IntegerField(), help_text="In percent of the amount.")
    paused_by_hand = ByHandSerializer(allow_null=True)
    opened_by_hand = ByHandSerializer(allow_null=True, help_text="Nothing is refused, whatever is spent.")


class StandingSerializer(TermsSerializer):
    """A limit of one value, and how it stands."""

    spent_usd = AmountField(help_text="In the window, to the last digit.")
    reserved_usd = AmountField(help_text="Held by open authorizations.")
    remaining_usd = AmountField(help_text="What an authorization may still take.")
    percent = serializers.FloatField(help_text="What is spent of the amount, rounded down to two decimals.")
    state = serializers.ChoiceField(choices=LimitState.choices)
    window_start = serializers.DateTimeField(allow_null=True, help_text="Null: spend counts for ever.")
    window_end = serializers.DateTimeField(allow_null=True, help_text="Null: the window moves along, or has no end.")
    resets_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When spend is below the amount again if nothing else is spent. Null: it is, or it is not in sight.",
    )
    as_of = serializers.DateTimeField(help_text="All that was acknowledged before is in the figures.")
    unpriced_events = serializers.IntegerField(help_text="In the window; their cost is not known yet.")
    hit_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When the amount will be reached at the rate of the last 24 hours (or since the window began).",
    )


class OfEachSerializer(TermsSerializer):
    """A limit that every value has for itself: its `scope_value` is empty."""

    values = StandingSerializer(
        many=True,
        help_text="Those at a threshold or beyond, or with an exception, the largest share first; at most 50. Or the "
        "one that was asked for.",
    )
    values_left_out = serializers.IntegerField(help_text="How many more may be at a threshold.")
    values_used = serializers.IntegerField(
        allow_null=True,
        help_text="How many values have had usage since the window began. Null: one was asked for.",
    )


class HeadSerializer(serializers.Serializer[Any]):
    """What every answer about limits says besides."""

    organization = serializers.CharField()
    plan = serializers.CharField()
    currency = serializers.ChoiceField(choices=[CURRENCY])
    timezone = serializers.CharField(help_text="Of calendar windows.")
    week_start = serializers.IntegerField(help_text="1 is Monday.")
    as_of = serializers.DateTimeField()


@extend_schema_field(
    PolymorphicProxySerializer(
        "LimitStanding", [StandingSerializer, OfEachSerializer], resource_type_field_name=None, many=True
    )
)
class StandingsField(serializers.ListField):
    pass


class StandingsSerializer(HeadSerializer):
    limits = StandingsField(help_text="In the order in which they were made.")


def head(organization: Organization, now: datetime) -> Json:
    return {
        "organization": organization.slug,
        "plan": organization.plan_id,
        "currency": CURRENCY,
        "timezone": organization.time_zone,
        "week_start": organization.week_start,
        "as_of": iso(now),
    }


def standings(found: Iterable[LimitStatus | EachStatus]) -> list[Json]:
    return [of_each(one) if isinstance(one, EachStatus) else standing(one) for one in found]


def standing(status: LimitStatus) -> Json:
    stands = status.evaluation
    return {
        **_terms(status.rule),
        "spent_usd": plain(stands.spent_usd),
        "reserved_usd": plain(stands.reserved_usd),
        "remaining_usd": plain(stands.remaining_usd),
        # Never rounded up to a threshold that is not reached.
        "percent": float(percent_of(status).quantize(_HUNDREDTH, rounding=ROUND_DOWN)),
        "state": stands.state.value,
        "window_start": _instant(stands.span.start),
        "window_end": _instant(stands.span.end),
        "resets_at": _instant(stands.resets_at),
        "as_of": iso(stands.as_of),
        "unpriced_events": status.unpriced,
        "hit_at": _instant(status.hit_at),
    }


def of_each(each: EachStatus) -> Json:
    return {
        **_terms(each.rule),
        "values": [standing(status) for status in each.values],
        "values_left_out": each.left_out,
        "values_used": each.used,
    }


def _terms(rule: Rule) -> Json:
    return {
        "id": rule.limit_id,
        "scope": rule.scope.value,
        "scope_value": rule.display_value,
        "of_each": rule.is_of_each,
        "window": rule.window.value,
        "action": rule.action.value,
        "amount_usd": plain(rule.amount_usd),
        "base_amount_usd": plain(rule.base_amount_usd),
        "raised_until": _instant(rule.raised_until),
        "soft_amount_usd": plain(rule.soft_amount_usd) if rule.soft_amount_usd is not None else None,
        "thresholds": list(rule.thresholds),
        "paused_by_hand": _by_hand(rule.by_hand, ExceptionKind.PAUSE),
        "opened_by_hand": _by_hand(rule.by_hand, ExceptionKind.OPEN),
    }


def _by_hand(by_hand: ByHand | None, kind: ExceptionKind) -> Json | None:
    if by_hand is None or by_hand.kind is not kind:
        return None
    return {"reason": by_hand.reason, "until": _instant(by_hand.until)}


def _instant(at: datetime | None) -> str | None:
    return iso(at) if at is not None else None
