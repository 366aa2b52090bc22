"""The JSON of limits and of what holds instead of them: what comes in, and apart from it what goes out."""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.api.usage.events import AmountField
from billing.limits.scope_values import display_values
from billing.limits.validation import AMOUNT_DECIMALS, MAX_REASON_LENGTH, MAX_THRESHOLDS, MAX_VALUE_LENGTH, LimitInput
from billing.models import PAUSING, IncreaseRequest, LimitCrossing, LimitException, SpendLimit
from billing.models.limits import default_thresholds
from billing.types import ExceptionKind, LimitAction, LimitScope, LimitWindow
from costtrack.serializers import StrictSerializer
from organizations.models import Organization

VALUE_TEXT = "One value of a limit that each has for itself (a credential by its Client ID). Empty: all."


class DollarsField(serializers.DecimalField):
    """US dollars: a string or a number in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=AMOUNT_DECIMALS + 12, decimal_places=AMOUNT_DECIMALS, min_value=0, **options)


Valued = IncreaseRequest | LimitCrossing | LimitException
"""A row about one value of its limit."""


@extend_schema_field(OpenApiTypes.STR)
class DisplayValueField(serializers.Field[Valued, Any, str, Any]):
    """What to call the value that a row is about; the context has it as `shown` (`display_values_of`)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(source="*", read_only=True, **options)

    def to_representation(self, value: Valued) -> str:
        shown: str = self.context["shown"][value.limit.scope, value.value]
        return shown


def display_values_of(organization: Organization, rows: Iterable[Valued]) -> dict[tuple[str, str], str]:
    return display_values(organization, [(row.limit.scope, row.value) for row in rows])


class ExceptionSerializer(serializers.ModelSerializer[LimitException]):
    """What holds instead of the limit for a while."""

    value = DisplayValueField(help_text=VALUE_TEXT)
    kind = serializers.ChoiceField(choices=ExceptionKind.choices)
    amount_usd = AmountField(allow_null=True, help_text="Of a raise.")
    ends_at = serializers.DateTimeField(allow_null=True, help_text="Null: until somebody ends it.")

    class Meta:
        model = LimitException
        fields = ("id", "kind", "value", "amount_usd", "starts_at", "ends_at", "reason", "actor")


class LimitSerializer(serializers.ModelSerializer[SpendLimit]):
    """A limit as it was set, and what holds instead of it now. How it stands is at `/usage/limits`.

    The context has, besides `shown`, what holds instead of each limit as `holding` (`holding_of`).
    """

    scope = serializers.ChoiceField(choices=LimitScope.choices)
    scope_value = serializers.CharField(help_text="Empty: every value of the scope has the limit for itself.")
    window = serializers.ChoiceField(choices=LimitWindow.choices)
    action = serializers.ChoiceField(choices=LimitAction.choices)
    amount_usd = AmountField()
    thresholds = serializers.ListField(child=serializers.IntegerField())
    soft_amount_usd = AmountField(allow_null=True)
    fallback_price = AmountField(allow_null=True)
    is_plan = serializers.BooleanField(help_text="It belongs to the organization's plan: lowered, never removed.")
    exceptions = serializers.SerializerMethodField(help_text="What holds instead of it now.")

    class Meta:
        model = SpendLimit
        fields = (
            *("id", "scope", "scope_value", "window", "amount_usd", "action", "thresholds", "soft_amount_usd"),
            *("fallback_price", "starts_at", "ends_at", "is_plan", "created_at", "exceptions"),
        )

    @extend_schema_field(ExceptionSerializer(many=True))
    def get_exceptions(self, limit: SpendLimit) -> Any:
        return ExceptionSerializer(self.context["holding"][limit.pk], many=True, context=self.context).data


class _TermsSerializer(StrictSerializer):
    """The fields that a limit begins with and that change later."""

    action = serializers.ChoiceField(
        choices=LimitAction.choices, required=False, help_text="`pause` if not given; `notify` never refuses anything."
    )
    thresholds = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=PAUSING),
        max_length=MAX_THRESHOLDS,
        required=False,
        help_text=f"Percents at which to warn, ascending; {PAUSING} always counts. "
        f"{default_thresholds()} if not given.",
    )
    soft_amount_usd = DollarsField(
        required=False, allow_null=True, help_text="Warn at this amount, too; at most the limit's."
    )
    fallback_price = DollarsField(
        required=False,
        allow_null=True,
        help_text="USD per million tokens of models without a price. Null: authorizations for such calls are refused.",
    )
    starts_at = serializers.DateTimeField(required=False, allow_null=True, help_text="Null: at once.")
    ends_at = serializers.DateTimeField(required=False, allow_null=True, help_text="Null: for good.")


class NewLimitSerializer(_TermsSerializer):
    scope = serializers.ChoiceField(choices=LimitScope.choices)
    scope_value = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_VALUE_LENGTH,
        help_text="A Client ID, a user, a tag, ... as events name it. Empty: every value has the limit for itself, so "
        "one limit bounds each run.",
    )
    window = serializers.ChoiceField(choices=LimitWindow.choices)
    amount_usd = DollarsField(help_text="More than 0. Reached, the limit pauses, or notifies.")

    def terms(self) -> LimitInput:
        data = self.validated_data
        words = {"scope": LimitScope(data["scope"]), "window": LimitWindow(data["window"])}
        return LimitInput(**{**data, **words})


class LimitChangeSerializer(_TermsSerializer):
    """What is not given stays. What a limit is about stays anyway: these fields are taken if they say the same."""

    scope = serializers.ChoiceField(choices=LimitScope.choices, required=False)
    scope_value = serializers.CharField(required=False, allow_blank=True, max_length=MAX_VALUE_LENGTH)
    window = serializers.ChoiceField(choices=LimitWindow.choices, required=False)
    amount_usd = DollarsField(required=False)


class _ByHandSerializer(StrictSerializer):
    value = serializers.CharField(default="", allow_blank=True, max_length=MAX_VALUE_LENGTH, help_text=VALUE_TEXT)
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH, help_text="Why; it stands in the audit log.")


class RaiseSerializer(_ByHandSerializer):
    amount_usd = DollarsField(help_text="More than the limit's own amount, at most the plan's maximum.")
    ends_at = serializers.DateTimeField(help_text="The limit's own amount holds again from then on.")


class PauseSerializer(_ByHandSerializer):
    ends_at = serializers.DateTimeField(default=None, allow_null=True, help_text="Null: until somebody resumes it.")


class ResumeSerializer(_ByHandSerializer):
    ends_at = serializers.DateTimeField(
        default=None,
        allow_null=True,
        help_text="Until when the limit refuses nothing, even if it is reached. Null: only a pause by hand ends.",
    )


class CrossingSerializer(serializers.ModelSerializer[LimitCrossing]):
    """That spend has reached a threshold of the limit, in one of its windows."""

    value = DisplayValueField(help_text="Of a limit that each has for itself: whose.")
    threshold = serializers.IntegerField(help_text="In percent of the amount; 0: the soft amount.")
    amount_usd = AmountField(help_text="What the limit was then.")
    spent_usd = AmountField(help_text="When it was noticed.")
    resolved_at = serializers.DateTimeField(allow_null=True, help_text="Spend is below the threshold again since then.")
    resets_at = serializers.DateTimeField(allow_null=True, help_text="When spend was to be below the amount again.")
    times = serializers.IntegerField(help_text="How often spend has come back to it within the window.")

    class Meta:
        model = LimitCrossing
        fields = (
            *("id", "value", "threshold", "amount_usd", "spent_usd", "crossed_at", "resolved_at", "resets_at", "times"),
        )
