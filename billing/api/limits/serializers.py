"""Serializers of limits, their overrides and threshold events; separate ones for input and output."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.limits.validation import (
    AMOUNT_DECIMALS,
    MAX_CHEAPER_MODELS,
    MAX_MEMBERS,
    MAX_MONTH_DAY,
    MAX_THRESHOLDS,
    MAX_VALUE_LENGTH,
    LimitInput,
)
from billing.models import PAUSING, IncreaseRequest, LimitOverride, SpendLimit, ThresholdEvent
from billing.models.limits import default_thresholds
from billing.types import LimitAction, LimitScope, LimitUnit, LimitWindow, MissingValue, OverrideKind
from costtrack.date_fields import EndField, StartField
from costtrack.money import plain
from costtrack.serializers import AmountField, AmountInputField, StrictSerializer
from costtrack.text import MAX_REASON_LENGTH

UNIT_TEXT = "What the limit counts. All amounts of the limit are in this unit, also those whose names end in `_usd`."
VALUE_TEXT = "One value of a per-value limit (a credential by its Client ID). Empty: all values."


class DollarsField(AmountInputField):
    """An amount in US dollars, as a string or a number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=AMOUNT_DECIMALS + 12, decimal_places=AMOUNT_DECIMALS, min_value=0, **options)


class RaisedDollarsField(DollarsField):
    """The amount of a raise, which is more than that of the limit and so more than 0."""

    default_error_messages = {"min_value": "Must be more than 0."}


RowWithValue = IncreaseRequest | ThresholdEvent | LimitOverride
"""A row that refers to one value of its limit."""


@extend_schema_field(OpenApiTypes.STR)
class DisplayValueField(serializers.Field[RowWithValue, Any, str, Any]):
    """The displayed form of a row's value. The context must have `display_values`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(source="*", read_only=True, **options)

    def to_representation(self, value: RowWithValue) -> str:
        displayed: str = self.context["display_values"][value.limit.scope, value.value]
        return displayed


class OverrideSerializer(serializers.ModelSerializer[LimitOverride]):
    """A temporary override of the limit."""

    value = DisplayValueField(help_text=VALUE_TEXT)
    kind = serializers.ChoiceField(choices=OverrideKind.choices)
    amount_usd = AmountField(allow_null=True, help_text="The amount of a raise; null for other kinds.")
    ends_at = serializers.DateTimeField(allow_null=True, help_text="Null: until it is ended.")

    class Meta:
        model = LimitOverride
        fields = ("id", "kind", "value", "amount_usd", "starts_at", "ends_at", "reason", "actor")


class ConditionSerializer(StrictSerializer):
    """A further condition that a call must meet."""

    scope = serializers.ChoiceField(choices=LimitScope.choices)
    scope_value = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=MAX_VALUE_LENGTH,
        help_text="Empty: every value of the scope counts separately.",
    )


class LimitSerializer(serializers.ModelSerializer[SpendLimit]):
    """A limit as configured, with its active overrides. Its current state is at `/usage/limits`."""

    # The context must have `display_values` and `active_overrides` (`active_overrides_by_limit`).
    scope = serializers.ChoiceField(choices=LimitScope.choices)
    scope_value = serializers.CharField(help_text="Empty: the limit applies to every value of the scope separately.")
    conditions = serializers.SerializerMethodField(help_text="Further conditions that a call must meet.")
    window = serializers.ChoiceField(choices=LimitWindow.choices)
    unit = serializers.ChoiceField(choices=LimitUnit.choices, help_text=UNIT_TEXT)
    missing = serializers.ChoiceField(choices=MissingValue.choices)
    members = serializers.ListField(child=serializers.CharField())
    member_amounts = serializers.DictField(child=serializers.CharField())
    action = serializers.ChoiceField(choices=LimitAction.choices)
    amount_usd = AmountField()
    thresholds = serializers.ListField(child=serializers.IntegerField())
    soft_amount_usd = AmountField(allow_null=True)
    fallback_price = AmountField(allow_null=True)
    cheaper_models = serializers.ListField(child=serializers.CharField())
    is_plan = serializers.BooleanField(
        help_text="The limit belongs to the organization's plan. It can be lowered, but not removed."
    )
    overrides = serializers.SerializerMethodField(help_text="The active overrides.")

    class Meta:
        model = SpendLimit
        fields = (
            *("id", "scope", "scope_value", "conditions", "members", "member_amounts", "missing", "default_value"),
            *("window", "month_day", "unit", "amount_usd", "action", "thresholds", "soft_amount_usd"),
            *("fallback_price", "cheaper_models", "starts_at", "ends_at", "is_plan", "created_at", "overrides"),
        )

    @extend_schema_field(ConditionSerializer(many=True))
    def get_conditions(self, limit: SpendLimit) -> Any:
        further = zip(limit.further_scopes, limit.further_values, strict=True)
        return [{"scope": scope, "scope_value": value} for scope, value in further]

    @extend_schema_field(OverrideSerializer(many=True))
    def get_overrides(self, limit: SpendLimit) -> Any:
        return OverrideSerializer(self.context["active_overrides"][limit.pk], many=True, context=self.context).data


class _LimitSettingsSerializer(StrictSerializer):
    """The fields that can be set on creation and changed later."""

    action = serializers.ChoiceField(
        choices=LimitAction.choices, required=False, help_text="Defaults to `pause`. `notify` never refuses anything."
    )
    thresholds = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=PAUSING),
        max_length=MAX_THRESHOLDS,
        required=False,
        help_text=f"Percents at which to notify, ascending; {PAUSING} is always included. "
        f"Defaults to {default_thresholds()}.",
    )
    soft_amount_usd = DollarsField(
        required=False, allow_null=True, help_text="An amount at which to notify; at most the limit's amount."
    )
    members = serializers.ListField(
        child=serializers.CharField(max_length=MAX_VALUE_LENGTH),
        max_length=MAX_MEMBERS,
        required=False,
        help_text="The values that a limit for every value applies to, such as the users of a group. Empty: all.",
    )
    member_amounts = serializers.DictField(
        child=DollarsField(), required=False, help_text="Other amounts of some values, by value."
    )
    fallback_price = DollarsField(
        required=False,
        allow_null=True,
        help_text="USD per million tokens for models without a price. Null: such calls are not authorized.",
    )
    cheaper_models = serializers.ListField(
        child=serializers.CharField(max_length=MAX_VALUE_LENGTH),
        max_length=MAX_CHEAPER_MODELS,
        required=False,
        help_text="Models to offer, in order, when a call does not fit and the client accepts the cap `model`.",
    )
    starts_at = StartField(required=False, allow_null=True, help_text="Null: immediately.")
    ends_at = EndField(required=False, allow_null=True, help_text="Null: no end.")


class NewLimitSerializer(_LimitSettingsSerializer):
    scope = serializers.ChoiceField(choices=LimitScope.choices)
    scope_value = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_VALUE_LENGTH,
        help_text="A Client ID, a user, a tag, ... as named in events. Empty: the limit applies to every value "
        "separately, for example to each run.",
    )
    conditions = ConditionSerializer(
        many=True, required=False, help_text="Further conditions that a call must meet, at most two."
    )
    missing = serializers.ChoiceField(
        choices=MissingValue.choices,
        required=False,
        help_text="What happens to calls without a value of the scope, for a limit for every value.",
    )
    default_value = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_VALUE_LENGTH,
        help_text="The value under which calls without one count, if `missing` is `default`.",
    )
    window = serializers.ChoiceField(choices=LimitWindow.choices)
    month_day = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_MONTH_DAY,
        help_text="The day on which months and quarters begin; the last day of a shorter month.",
    )
    unit = serializers.ChoiceField(choices=LimitUnit.choices, required=False, help_text=UNIT_TEXT)
    amount_usd = DollarsField(
        help_text="When it is reached, the limit pauses access, or only notifies. 0 refuses every call with a cost."
    )

    def to_limit_input(self) -> LimitInput:
        data = with_conditions(self.validated_data)
        enums = {name: choices(data[name]) for name, choices in _CHOICES.items() if name in data}
        return LimitInput(**{**data, **enums})


_CHOICES: dict[str, Any] = {"scope": LimitScope, "window": LimitWindow, "missing": MissingValue, "unit": LimitUnit}


def with_conditions(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as the services take them."""
    data = dict(data)
    if "conditions" in data:
        conditions = data.pop("conditions")
        data["further_scopes"] = tuple(LimitScope(condition["scope"]) for condition in conditions)
        data["further_values"] = tuple(condition["scope_value"] for condition in conditions)
    if "member_amounts" in data:
        data["member_amounts"] = {value: plain(amount) for value, amount in data["member_amounts"].items()}
    return data


class LimitChangeSerializer(_LimitSettingsSerializer):
    """Only given fields change. What the limit counts, and its window, are accepted if they equal the current ones."""

    scope = serializers.ChoiceField(choices=LimitScope.choices, required=False)
    scope_value = serializers.CharField(required=False, allow_blank=True, max_length=MAX_VALUE_LENGTH)
    conditions = ConditionSerializer(many=True, required=False)
    missing = serializers.ChoiceField(choices=MissingValue.choices, required=False)
    default_value = serializers.CharField(required=False, allow_blank=True, max_length=MAX_VALUE_LENGTH)
    window = serializers.ChoiceField(choices=LimitWindow.choices, required=False)
    month_day = serializers.IntegerField(required=False, min_value=1, max_value=MAX_MONTH_DAY)
    unit = serializers.ChoiceField(choices=LimitUnit.choices, required=False)
    amount_usd = DollarsField(required=False)


class _ManualOverrideSerializer(StrictSerializer):
    value = serializers.CharField(default="", allow_blank=True, max_length=MAX_VALUE_LENGTH, help_text=VALUE_TEXT)
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH, help_text="The reason, for the audit log.")


class RaiseSerializer(_ManualOverrideSerializer):
    amount_usd = RaisedDollarsField(help_text="More than the limit's amount, and at most the plan's maximum.")
    ends_at = EndField(help_text="When the raise ends. A date is included.")


class PauseSerializer(_ManualOverrideSerializer):
    ends_at = EndField(default=None, allow_null=True, help_text="Null: until the limit is resumed.")


class ResumeSerializer(_ManualOverrideSerializer):
    ends_at = EndField(
        default=None,
        allow_null=True,
        help_text="Until when the limit refuses nothing, even if it is reached. Null: only end a manual pause.",
    )


class ThresholdEventSerializer(serializers.ModelSerializer[ThresholdEvent]):
    """Spend reached a threshold of the limit in one of its windows."""

    value = DisplayValueField(help_text="The value of a per-value limit.")
    threshold = serializers.IntegerField(help_text="In percent of the amount; 0 is the soft amount.")
    amount_usd = AmountField(help_text="The limit's amount at that time.")
    spent_usd = AmountField(help_text="The spend when the threshold was reached.")
    reached_at = serializers.DateTimeField()
    resolved_at = serializers.DateTimeField(allow_null=True, help_text="When spend was below the threshold again.")
    resets_at = serializers.DateTimeField(
        allow_null=True, help_text="When spend is expected to be below the amount again."
    )
    times = serializers.IntegerField(help_text="How often spend has reached the threshold within the window.")

    class Meta:
        model = ThresholdEvent
        fields = (
            *("id", "value", "threshold", "amount_usd", "spent_usd", "reached_at", "resolved_at", "resets_at", "times"),
        )
