"""`GET /usage/anomalies`: hours and days whose spend was unusual, with what they are due to."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import operation
from billing.api.usage.figures import UsageView, local_formatter
from billing.api.windows import WindowEndField, WindowStartField, window_of
from billing.models import Anomaly
from billing.reports.anomalies import ANOMALY_SCOPES, AnomalyFilter, list_anomalies, names_of
from billing.reports.cursors import cursor_of, start_position_of
from billing.types import LimitScope
from costtrack.calendar import Calendar, Unit
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.responses import Amount, LocalTime, NextCursor, ResponseBody, about, choice
from costtrack.serializers import StrictSerializer, optional_text, page_cursor, page_size

_UNITS = [Unit.HOUR.value, Unit.DAY.value]
_SCOPES = [scope.value for scope in ANOMALY_SCOPES]
_CAUSES = [scope.value for scope in LimitScope]
_DIRECTIONS = {"rise": True, "drop": False}
_STATES = {"open": True, "closed": False}
_MAX_DIGITS = 18


class AnomaliesQuery(StrictSerializer):
    """Parameters; an empty value is ignored."""

    start_date = WindowStartField(required=False, help_text="Only anomalies from this day or time on.")
    end_date = WindowEndField(required=False, help_text="Until this day (inclusive) or before this time.")
    by = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        choices=_SCOPES,
        help_text="Only anomalies with an hour or day of the organization, or of a credential, user, team or model.",
    )
    key = optional_text("Only of this value of `by`; of credentials the Client ID.")
    direction = serializers.ChoiceField(required=False, allow_blank=True, choices=list(_DIRECTIONS))
    state = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        choices=list(_STATES),
        help_text="`closed`: marked as expected, or usual after late events.",
    )
    limit = page_size()
    cursor = page_cursor()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("key") and not attrs.get("by"):
            raise serializers.ValidationError({"key": "Requires `by`."})
        return attrs


class AnomalyCauseBody(ResponseBody):
    by: Annotated[str, choice(_CAUSES)]
    key: Annotated[str, about("The value; of credentials the Client ID.")]
    usd: Annotated[Amount, about("Its part of the difference: spend above the average of four weeks.")]


class AnomalyBody(ResponseBody):
    id: int
    direction: Annotated[str, choice(list(_DIRECTIONS))]
    start: Annotated[LocalTime, about("Start of the first hour or day.")]
    end: Annotated[LocalTime, about("End of the last hour or day. Exclusive.")]
    by: Annotated[str, choice(_SCOPES), about("Of what the difference is largest. The figures are those of it.")]
    key: Annotated[str, about("The value, of credentials the Client ID; empty for the organization.")]
    unit: Annotated[str, choice(_UNITS)]
    window_start: Annotated[LocalTime, about("The hour or day with the largest difference.")]
    window_end: Annotated[LocalTime, about("Exclusive.")]
    spent_usd: Annotated[Amount, about("Exact spend.")]
    expected_usd: Annotated[Amount, about("Estimated.")]
    low_usd: Annotated[Amount, about("Start of the band. Only days can be below it.")]
    high_usd: Annotated[Amount, about("End of the band.")]
    explained_by: Annotated[list[AnomalyCauseBody], about("What at least half of the difference is due to.")]
    found_at: datetime
    expected_since: Annotated[datetime | None, about("When it was marked as expected.")]
    withdrawn_at: Annotated[datetime | None, about("When late events had brought all hours and days into their bands.")]


class AnomalyPageBody(ResponseBody):
    organization: Annotated[str, about("Its slug.")]
    timezone: str
    currency: Annotated[str, about("USD")]
    results: Annotated[list[AnomalyBody], about("The latest first.")]
    next_cursor: NextCursor


class UsageAnomaliesView(UsageView):
    """`GET /usage/anomalies`"""

    ignores_unknown_parameters: ClassVar[bool] = False

    @operation("usage_anomalies", AnomaliesQuery, AnomalyPageBody)
    def get(self, request: Request) -> Response:
        """List unusual spend, the latest first.

        An anomaly has one cause: the hours and days of the organization and of credentials, users, teams and models
        that were outside their bands because of it.
        """
        given = {name: value for name, value in request.query_params.items() if name != "organization"}
        parameters = AnomaliesQuery(data=given, context={"calendar": self.organization.calendar})
        parameters.is_valid(raise_exception=True)
        values: dict[str, Any] = parameters.validated_data
        window = window_of(values.get("start_date"), values.get("end_date"))
        after = start_position_of(values.get("cursor", ""))
        if after is not None and not (after.key.isascii() and after.key.isdecimal() and len(after.key) <= _MAX_DIGITS):
            raise InvalidError("Invalid cursor. Remove it to start from the first page.", param="cursor")
        by = values.get("by")
        page = list_anomalies(
            organization=self.organization,
            filters=AnomalyFilter(
                window=self.plan_rights.visible(window, now=utc_now()),
                scope=LimitScope(by) if by else None,
                key=values.get("key", ""),
                is_rise=_DIRECTIONS.get(values.get("direction", "")),
                is_open=_STATES.get(values.get("state", "")),
            ),
            after=after,
            limit=values["limit"],
        )
        names = names_of(self.organization, page.rows)
        body = AnomalyPageBody(
            organization=self.organization.slug,
            timezone=self.organization.time_zone,
            currency="USD",
            results=[_anomaly(row, names, self.organization.calendar) for row in page.rows],
            next_cursor=cursor_of(page.last),
        )
        return Response(body)


def _anomaly(row: Anomaly, names: Mapping[tuple[str, str], str], calendar: Calendar) -> AnomalyBody:
    local = local_formatter(calendar)
    return AnomalyBody(
        id=row.pk,
        direction="rise" if row.is_rise else "drop",
        start=local(row.began_at),
        end=local(row.ended_at),
        by=row.scope,
        key=names[row.scope, row.value],
        unit=row.unit,
        window_start=local(row.starts_at),
        window_end=local(row.ends_at),
        spent_usd=Amount.of(row.actual_usd),
        expected_usd=Amount.of(row.expected_usd),
        low_usd=Amount.of(row.low_usd),
        high_usd=Amount.of(row.high_usd),
        explained_by=[
            AnomalyCauseBody(by=cause["scope"], key=names[cause["scope"], cause["value"]], usd=Amount(cause["usd"]))
            for cause in row.explained_by
        ],
        found_at=row.found_at,
        expected_since=row.dismissed_at,
        withdrawn_at=row.withdrawn_at,
    )
