"""Document 000 (Glow): request bodies.

Fields of Glow's clients that have no meaning here (departments, snapshots) are validated and ignored. A filter that
would change the figures is never ignored: unknown fields are rejected.
"""

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from billing.api.windows import WindowEndField, WindowStartField, window_of
from billing.reports.pricing.groups import ORDERS
from costtrack.calendar import Window
from costtrack.name_fields import NameField
from costtrack.serializers import StrictSerializer

_MAX_IDS = 1_000
_MAX_PER_PAGE = 500
_LAST_PAGE = 1_000_000_000
_MAX_LENGTH = 255


def _start(text: str) -> WindowStartField:
    return WindowStartField(required=False, allow_null=True, help_text=text)


def _end(text: str) -> WindowEndField:
    return WindowEndField(required=False, allow_null=True, help_text=text)


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


def _name(text: str) -> NameField:
    return NameField(required=False, allow_null=True, allow_blank=True, help_text=text)


_NO_EFFECT = "Accepted for compatibility with Glow clients; has no effect."


def _id(text: str) -> serializers.UUIDField:
    return serializers.UUIDField(required=False, allow_null=True, help_text=text)


def _number(min_value: int, max_value: int) -> serializers.IntegerField:
    return serializers.IntegerField(
        required=False, allow_null=True, min_value=min_value, max_value=max_value, help_text=_NO_EFFECT
    )


def _choice(choices: list[str], text: str = _NO_EFFECT) -> serializers.ChoiceField:
    return serializers.ChoiceField(choices, required=False, allow_null=True, help_text=text)


class RunsBody(StrictSerializer):
    """Filters of runs. Every field may be omitted or null."""

    start_date = _start("Runs from this date or time on.")
    end_date = _end("Runs until this date (inclusive) or before this time.")
    date_from = _start("Alias of start_date, which takes precedence.")
    date_to = _end("Alias of end_date, which takes precedence.")
    model_ids = _uuids("Only runs of these models. Null or empty: all.")
    model_id = _id("One model; model_ids takes precedence.")
    agent_ids = _uuids("Only runs of these agents. Null or empty: all.")
    agent_id = _id("One agent; agent_ids takes precedence.")
    department_ids = _uuids(f"{_NO_EFFECT} There are no departments here.")
    snapshot_key = _text(_NO_EFFECT)
    page_limit = _number(1, _MAX_PER_PAGE)
    page_offset = _number(0, _LAST_PAGE)

    def window(self) -> Window:
        """Return the window. Raises a ValidationError if it is empty."""
        params = self.validated_data
        return window_of(
            params.get("start_date") or params.get("date_from"), params.get("end_date") or params.get("date_to")
        )


class PricingBody(RunsBody):
    page = _number(0, _LAST_PAGE)
    page_size = _number(1, _MAX_PER_PAGE)
    sort_by = _choice(list(ORDERS))
    sort_order = _choice(["asc", "desc"])


@extend_schema_serializer(many=False)
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
    group_id = _name("Only runs of this group: its `group_id` or `group_key`.")
    session_id = _name("Only runs of this session.")
    view = _choice(["pricing"], "The only supported view.")
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
