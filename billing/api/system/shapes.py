"""Document 000 (Glow): request and response bodies.

Fields of Glow's clients that have no meaning here (departments, snapshots) are validated and ignored. A filter that
would change the figures is never ignored: unknown fields are rejected.
"""

from typing import Any

from rest_framework import serializers

from billing.api.windows import DateOrDateTimeField, window_of
from billing.reports.pricing.group_order import GroupOrder
from billing.reports.types import Window
from costtrack.serializers import AmountField, StrictSerializer

_MAX_IDS = 1_000
_MAX_PER_PAGE = 500
_LAST_PAGE = 1_000_000_000
_MAX_LENGTH = 255

ORDERS = {
    "date": GroupOrder.DATE,
    "total_cost": GroupOrder.COST,
    "total_tokens": GroupOrder.TOKENS,
    "run_count": GroupOrder.RUNS,
}


def _date(text: str) -> DateOrDateTimeField:
    return DateOrDateTimeField(required=False, allow_null=True, help_text=text)


def _uuids(text: str) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.UUIDField(), required=False, allow_null=True, max_length=_MAX_IDS, help_text=text
    )


def _text(text: str) -> serializers.CharField:
    return serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=_MAX_LENGTH,
        trim_whitespace=False,
        help_text=text,
    )


_NO_EFFECT = "Accepted for compatibility with Glow clients; has no effect."


class RunsBody(StrictSerializer):
    """Filters of runs. Every field may be omitted or null."""

    start_date = _date("Runs from this date or time on.")
    end_date = _date("Runs until this date (inclusive) or time.")
    date_from = _date("Alias of start_date, which takes precedence.")
    date_to = _date("Alias of end_date, which takes precedence.")
    model_ids = _uuids("Only runs of these models. Null or empty: all.")
    model_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="One model; model_ids takes precedence."
    )
    agent_ids = _uuids("Only runs of these agents. Null or empty: all.")
    agent_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="One agent; agent_ids takes precedence."
    )
    department_ids = _uuids(f"{_NO_EFFECT} There are no departments here.")
    snapshot_key = _text(_NO_EFFECT)
    page_limit = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=_MAX_PER_PAGE, help_text=_NO_EFFECT
    )
    page_offset = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=_LAST_PAGE, help_text=_NO_EFFECT
    )

    def window(self) -> Window:
        """Return the window. Raises a ValidationError if it ends before it begins."""
        params = self.validated_data
        return window_of(
            params.get("start_date") or params.get("date_from"), params.get("end_date") or params.get("date_to")
        )


class PricingBody(RunsBody):
    page = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=_LAST_PAGE, help_text=_NO_EFFECT
    )
    page_size = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=_MAX_PER_PAGE, help_text=_NO_EFFECT
    )
    sort_by = serializers.ChoiceField(choices=list(ORDERS), required=False, allow_null=True, help_text=_NO_EFFECT)
    sort_order = serializers.ChoiceField(choices=["asc", "desc"], required=False, allow_null=True, help_text=_NO_EFFECT)


class GroupsBody(RunsBody):
    profile_ids = _uuids("Only runs of these users. Null or empty: all.")
    search = _text("Only groups whose name contains this, case-insensitive.")
    page = serializers.IntegerField(
        default=1, min_value=0, max_value=_LAST_PAGE, help_text="Page number from 1; 0 is also the first page."
    )
    page_size = serializers.IntegerField(default=50, min_value=1, max_value=_MAX_PER_PAGE)
    sort_by = serializers.ChoiceField(
        choices=list(ORDERS), default="date", help_text="date is the time of the group's last run."
    )
    sort_order = serializers.ChoiceField(choices=["asc", "desc"], default="desc")


class ExportBody(RunsBody):
    profile_ids = _uuids("Only runs of these users. Null or empty: all.")
    group_id = _text("Only runs of this group.")
    session_id = _text("Only runs of this session.")
    view = serializers.ChoiceField(
        choices=["pricing"], required=False, allow_null=True, help_text="The only supported view."
    )
    mode = _text(_NO_EFFECT)
    idempotency_key = _text(_NO_EFFECT)


class RefreshBody(StrictSerializer):
    idempotency_key = serializers.CharField(
        default=None,
        allow_null=True,
        max_length=_MAX_LENGTH,
        help_text="Returned in the response. Refreshing is idempotent.",
    )
    soft = serializers.BooleanField(
        default=False, allow_null=True, help_text="Only drop cached responses; background workers update the views."
    )
    accept = serializers.JSONField(required=False, allow_null=True, help_text=_NO_EFFECT)


# --- Answers ---------------------------------------------------------------------------------------------------


class DailyItem(serializers.Serializer[Any]):
    date_key = serializers.DateField(help_text="The UTC day.")
    model_id = serializers.UUIDField(allow_null=True, help_text="Null without a model, for example for tool calls.")
    total_cost = AmountField(help_text="Runs, tool calls and compute, excluding unpriced events.")
    run_count = serializers.IntegerField(help_text="Model calls, including failed ones.")


class _Name(serializers.Serializer[Any]):
    name = serializers.CharField()


class _Resources(serializers.Serializer[Any]):
    agents = serializers.DictField(child=_Name(), help_text="By agent id.")
    models = serializers.DictField(child=_Name(), help_text="By model id.")


class _Option(serializers.Serializer[Any]):
    value = serializers.UUIDField()
    label = serializers.CharField()  # type: ignore[assignment] # the document's name
    count = serializers.IntegerField(help_text="Runs in the window, regardless of the model and agent filters.")


class _Choice(serializers.Serializer[Any]):
    value = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]


class _Facet(serializers.Serializer[Any]):
    visible = serializers.BooleanField()
    disabled = serializers.BooleanField()


class _Facets(serializers.Serializer[Any]):
    date_range = _Facet()
    departments = _Facet()
    cohorts = _Facet()
    roles = _Facet()
    attempts = _Facet()


class _Analytics(serializers.Serializer[Any]):
    department_options = _Choice(many=True)
    cohort_options = _Choice(many=True)
    role_options = _Choice(many=True)
    attempt_options = _Choice(many=True)
    date_range_earliest = serializers.DateField(allow_null=True, help_text="The first day with usage.")
    date_range_latest = serializers.DateField(allow_null=True, help_text="The last day with usage.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Adds `fields`, a name that the serializer class itself uses."""
        return {"fields": _Facets(), **super().get_fields()}


class PricingAnswer(serializers.Serializer[Any]):
    daily = DailyItem(many=True, help_text="Oldest day first.")
    resources = _Resources()
    model_options = _Option(many=True)
    agent_options = _Option(many=True)
    total_count = serializers.IntegerField(help_text="Runs: the sum of run_count.")
    analytics = _Analytics()
    history = serializers.JSONField(allow_null=True, help_text="Always null: groups have a separate endpoint.")


class GroupItem(serializers.Serializer[Any]):
    group_id = serializers.CharField(help_text="As sent by the caller.")
    session_id = serializers.CharField(allow_null=True)
    group_name = serializers.CharField(allow_null=True)
    first_run_at = serializers.DateTimeField()
    last_run_at = serializers.DateTimeField()
    run_count = serializers.IntegerField()
    total_input_tokens = serializers.IntegerField(help_text="All prompt tokens, including cached ones.")
    total_output_tokens = serializers.IntegerField()
    total_tokens = serializers.IntegerField(help_text="Input and output.")
    total_cost = AmountField()
    agent_ids = serializers.ListField(child=serializers.UUIDField())
    model_ids = serializers.ListField(child=serializers.UUIDField())
    profile_ids = serializers.ListField(child=serializers.UUIDField())
    agent_names = serializers.ListField(child=serializers.CharField(), help_text="In the order of agent_ids.")
    model_names = serializers.ListField(child=serializers.CharField(), help_text="In the order of model_ids.")
    profile_names = serializers.ListField(child=serializers.CharField(), help_text="In the order of profile_ids.")


class GroupsAnswer(serializers.Serializer[Any]):
    data = GroupItem(many=True)  # type: ignore[assignment]
    total_count = serializers.IntegerField()
    page = serializers.IntegerField(help_text="Page number.")
    page_size = serializers.IntegerField()
    total_pages = serializers.IntegerField()


class ExportAnswer(serializers.Serializer[Any]):
    content = serializers.CharField(help_text="The ZIP in base64; it contains runs.csv.")
    file_name = serializers.CharField()
    mime_type = serializers.CharField()
    row_count = serializers.IntegerField()


class RefreshAnswer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    refreshed_views = serializers.ListField(
        child=serializers.CharField(), help_text="Views that are up to date now. Empty if workers update them."
    )
    invalidated_tags = serializers.ListField(child=serializers.CharField())
    idempotency_key = serializers.CharField(allow_null=True)
