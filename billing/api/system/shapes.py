"""Document 000 (Glow): the bodies of requests and answers.

Fields that Glow's clients send and that mean nothing here (there are no departments or snapshots) are checked and
change nothing. What would change the figures is never ignored: a filter that an endpoint does not have is refused.
"""

from typing import Any

from rest_framework import serializers

from billing.api.usage.events import AmountField
from billing.api.windows import DateOrDateTimeField, window_of
from billing.reports.pricing.group_order import GroupOrder
from billing.reports.types import Window
from costtrack.serializers import StrictSerializer

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


_NO_EFFECT = "Accepted for Glow's clients, without effect."


class RunsBody(StrictSerializer):
    """Which runs. Everything may be left out, or null."""

    start_date = _date("Runs from this date or time on.")
    end_date = _date("Runs until this date (included) or time.")
    date_from = _date("The same as start_date, which wins.")
    date_to = _date("The same as end_date, which wins.")
    model_ids = _uuids("Only runs of these models. None or empty: of all.")
    model_id = serializers.UUIDField(required=False, allow_null=True, help_text="One model; model_ids wins.")
    agent_ids = _uuids("Only runs of these agents. None or empty: of all.")
    agent_id = serializers.UUIDField(required=False, allow_null=True, help_text="One agent; agent_ids wins.")
    department_ids = _uuids(f"{_NO_EFFECT} There are no departments here.")
    snapshot_key = _text(_NO_EFFECT)
    page_limit = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=_MAX_PER_PAGE, help_text=_NO_EFFECT
    )
    page_offset = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=_LAST_PAGE, help_text=_NO_EFFECT
    )

    def window(self) -> Window:
        """Raises a ValidationError where it ends before it begins."""
        asked = self.validated_data
        return window_of(
            asked.get("start_date") or asked.get("date_from"), asked.get("end_date") or asked.get("date_to")
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
    profile_ids = _uuids("Only runs for these people. None or empty: for all.")
    search = _text("Only groups with this in their name, in any case.")
    page = serializers.IntegerField(
        default=1, min_value=0, max_value=_LAST_PAGE, help_text="The first page is 1; 0 is the first page, too."
    )
    page_size = serializers.IntegerField(default=50, min_value=1, max_value=_MAX_PER_PAGE)
    sort_by = serializers.ChoiceField(
        choices=list(ORDERS), default="date", help_text="date is the time of the group's last run."
    )
    sort_order = serializers.ChoiceField(choices=["asc", "desc"], default="desc")


class ExportBody(RunsBody):
    profile_ids = _uuids("Only runs for these people. None or empty: for all.")
    group_id = _text("Only runs of this group.")
    session_id = _text("Only runs of this session.")
    view = serializers.ChoiceField(choices=["pricing"], required=False, allow_null=True, help_text="The only one here.")
    mode = _text(_NO_EFFECT)
    idempotency_key = _text(_NO_EFFECT)


class RefreshBody(StrictSerializer):
    idempotency_key = serializers.CharField(
        default=None, allow_null=True, max_length=_MAX_LENGTH, help_text="Comes back. Refreshing twice changes nothing."
    )
    soft = serializers.BooleanField(
        default=False, allow_null=True, help_text="Only drop cached answers; have workers bring the views up to date."
    )
    accept = serializers.JSONField(required=False, allow_null=True, help_text=_NO_EFFECT)


# --- Answers ---------------------------------------------------------------------------------------------------


class DailyItem(serializers.Serializer[Any]):
    date_key = serializers.DateField(help_text="The UTC day.")
    model_id = serializers.UUIDField(allow_null=True, help_text="Null: no model was named, as with tool calls.")
    total_cost = AmountField(help_text="Runs, tool calls and compute. What waits for a price is not in it.")
    run_count = serializers.IntegerField(help_text="Model calls, failed ones too.")


class _Name(serializers.Serializer[Any]):
    name = serializers.CharField()


class _Resources(serializers.Serializer[Any]):
    agents = serializers.DictField(child=_Name(), help_text="By agent id.")
    models = serializers.DictField(child=_Name(), help_text="By model id.")


class _Option(serializers.Serializer[Any]):
    value = serializers.UUIDField()
    label = serializers.CharField()  # type: ignore[assignment] # the document's name
    count = serializers.IntegerField(help_text="Runs in the window, whatever model or agent was asked for.")


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
    date_range_latest = serializers.DateField(allow_null=True, help_text="The last one.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """With `fields`, which is a name that the class itself needs."""
        return {"fields": _Facets(), **super().get_fields()}


class PricingAnswer(serializers.Serializer[Any]):
    daily = DailyItem(many=True, help_text="The oldest day first.")
    resources = _Resources()
    model_options = _Option(many=True)
    agent_options = _Option(many=True)
    total_count = serializers.IntegerField(help_text="Runs: the sum of run_count.")
    analytics = _Analytics()
    history = serializers.JSONField(allow_null=True, help_text="Always null: groups have an endpoint of their own.")


class GroupItem(serializers.Serializer[Any]):
    group_id = serializers.CharField(help_text="As the caller gave it.")
    session_id = serializers.CharField(allow_null=True)
    group_name = serializers.CharField(allow_null=True)
    first_run_at = serializers.DateTimeField()
    last_run_at = serializers.DateTimeField()
    run_count = serializers.IntegerField()
    total_input_tokens = serializers.IntegerField(help_text="All prompt tokens, cached ones too.")
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
    page = serializers.IntegerField(help_text="Which page this is.")
    page_size = serializers.IntegerField()
    total_pages = serializers.IntegerField()


class ExportAnswer(serializers.Serializer[Any]):
    content = serializers.CharField(help_text="The ZIP in base64. It holds runs.csv.")
    file_name = serializers.CharField()
    mime_type = serializers.CharField()
    row_count = serializers.IntegerField()


class RefreshAnswer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    refreshed_views = serializers.ListField(child=serializers.CharField(), help_text="Up to date now. Empty: soon.")
    invalidated_tags = serializers.ListField(child=serializers.CharField())
    idempotency_key = serializers.CharField(allow_null=True)
