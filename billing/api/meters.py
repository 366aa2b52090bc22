"""`GET /api/v1/meters`: read-only meters for OpenMeter's clients, from the rollups (docs/cloudevents.md)."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.http import HttpResponse, QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from billing.ingest.validate import EARLIEST
from billing.reports.meters import DIMENSIONS, MAX_ROWS, METERS, SUBJECT, Meter, MeterRow, query_meter
from costtrack.calendar import Calendar, Span, Unit, Window
from costtrack.clock import iso, utc_now
from costtrack.error_formats import PROBLEM, Dialect
from costtrack.errors import DomainError, NotFoundError
from costtrack.ignored_parameters import ignore, ignore_all
from costtrack.names import clean_name
from costtrack.renderers import JSONRenderer
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

MAX_WINDOWS = 1_000
_MINUTE = timedelta(minutes=1)
_UNITS = {"HOUR": Unit.HOUR, "DAY": Unit.DAY, "MONTH": Unit.MONTH}
_WINDOW_SIZES = ("MINUTE", *_UNITS)
_MAX_VALUES = 100
_FILTER = "filterGroupBy["
_KNOWN = ("from", "to", "windowSize", "windowTimeZone", SUBJECT, "groupBy", "advancedMeterGroupByFilters")
_METER: dict[str, Any] = {"type": "object", "additionalProperties": True, "title": "Meter"}
_RESULT: dict[str, Any] = {"type": "object", "additionalProperties": True, "title": "MeterQueryResult"}


class InvalidQueryError(DomainError):
    """A parameter is invalid; OpenMeter responds with 400."""

    status = 400
    code = "invalid"


class TooManyRowsError(DomainError):
    status = 400
    code = "too_many_rows"


class _JsonOnly(BaseContentNegotiation):
    """JSON for `Accept: text/csv` too: the view writes the file, and errors are JSON."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return next(iter(parsers), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return JSONRenderer(), JSONRenderer.media_type


class _MetersView(OrganizationScopedAPIView):
    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    dialect: ClassVar[Dialect] = PROBLEM
    ignores_unknown_parameters: ClassVar[bool] = True
    content_negotiation_class = _JsonOnly

    def _meter(self, slug: str) -> Meter:
        meter = METERS.get(slug)
        if meter is None:
            raise NotFoundError(f"There is no meter {slug[:64]}. Meters: {', '.join(METERS)}.")
        return meter

    def _described(self, meter: Meter) -> dict[str, Any]:
        created = iso(self.organization.created_at)
        return {
            "id": meter.slug,
            "slug": meter.slug,
            "name": meter.name,
            "description": meter.description,
            "aggregation": "SUM",
            "eventType": "llm.usage",
            "valueProperty": f"$.{meter.slug}",
            "groupBy": {name: f"$.{name}" for name in DIMENSIONS if name != SUBJECT},
            "createdAt": created,
            "updatedAt": created,
        }


class MeterListView(_MetersView):
    """`GET /api/v1/meters`"""

    @extend_schema(
        operation_id="openmeter_meters",
        tags=["intake"],
        responses={200: OpenApiResponse({"type": "array", "items": _METER}, "The meters.")},
    )
    def get(self, request: Request) -> Response:
        """List the meters: tokens, requests and cost. They are the same for all organizations, and read-only."""
        ignore_all(request.query_params)
        return Response(list(map(self._described, METERS.values())))


class MeterView(_MetersView):
    """`GET /api/v1/meters/{meter}`"""

    @extend_schema(
        operation_id="openmeter_meter", tags=["intake"], responses={200: OpenApiResponse(_METER, "The meter.")}
    )
    def get(self, request: Request, meter: str) -> Response:
        """Get a meter."""
        ignore_all(request.query_params)
        return Response(self._described(self._meter(meter)))


@dataclass(frozen=True, slots=True)
class _Query:
    """A validated query. `given` are the start and the end as they were sent."""

    windows: list[Span]
    size: str | None
    by: tuple[str, ...]
    filters: Mapping[str, Sequence[str]]
    start: datetime | None
    end: datetime | None


def _parameter(name: str, description: str, *, many: bool = False, **options: Any) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, many=many, description=description, **options)


class MeterQueryView(_MetersView):
    """`GET /api/v1/meters/{meter}/query`"""

    @extend_schema(
        operation_id="openmeter_meter_query",
        tags=["intake"],
        parameters=[
            _parameter("from", "Start, inclusive (RFC 3339). Required with `windowSize`."),
            _parameter("to", "End, exclusive (RFC 3339). Default: now."),
            _parameter("windowSize", "One value for each window with usage.", enum=_WINDOW_SIZES),
            _parameter("windowTimeZone", "An IANA name. Default: UTC."),
            _parameter(SUBJECT, "Only these users; one value for each.", many=True),
            _parameter("groupBy", f"One value for each of: {', '.join(DIMENSIONS)}.", many=True, enum=list(DIMENSIONS)),
            _parameter("advancedMeterGroupByFilters", 'JSON: `{"model": {"$in": ["gpt-4o"]}}` or `{"$eq": ...}`.'),
        ],
        responses={
            (200, "application/json"): OpenApiResponse(_RESULT, "The values, of windows and groups with usage."),
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="With `Accept: text/csv`."),
        },
    )
    def get(self, request: Request, meter: str) -> HttpResponse:
        """Query a meter by time, user and dimension, in JSON or CSV. Values are numbers; exact amounts are in the other
        families."""
        now = utc_now()
        query = self._query(request.query_params, now)
        rows = query_meter(
            organization=self.organization,
            meter=self._meter(meter),
            windows=query.windows,
            by=query.by,
            filters=query.filters,
        )
        if len(rows) > MAX_ROWS:
            raise TooManyRowsError(
                f"The result has more than {MAX_ROWS:,} rows. Choose a shorter time or fewer groups."
            )
        if "text/csv" in request.headers.get("Accept", ""):
            return HttpResponse(_csv(query, rows), content_type="text/csv")
        body: dict[str, Any] = {"data": [_row(query, row) for row in rows]}
        if query.start is not None:
            body["from"] = iso(query.start)
        if query.end is not None:
            body["to"] = iso(query.end)
        if query.size is not None:
            body["windowSize"] = query.size
        return Response(body)

    def _query(self, params: QueryDict, now: datetime) -> _Query:
        unknown = [name for name in params if name not in (*_KNOWN, "organization") and not name.startswith(_FILTER)]
        ignore(params, unknown)
        start, end = _instant(params, "from"), _instant(params, "to")
        window = self.plan_rights.visible(Window(start or EARLIEST, end or now), now=now)
        if window.start is None or window.end is None or window.start >= window.end:
            raise InvalidQueryError("to must be after from.", param="to")
        size = params.get("windowSize")
        if size is not None and size not in _WINDOW_SIZES:
            raise InvalidQueryError(f"windowSize must be one of {', '.join(_WINDOW_SIZES)}.", param="windowSize")
        if size is not None and start is None:
            raise InvalidQueryError("from is required with windowSize.", param="from")
        zone = _zone(params.get("windowTimeZone") or "UTC")
        span = Span(window.start, window.end)
        windows = [span] if size is None else list(islice(_windows(span, size, zone), MAX_WINDOWS + 1))
        if len(windows) > MAX_WINDOWS:
            raise InvalidQueryError(f"The time has more than {MAX_WINDOWS:,} windows of this size.", param="windowSize")
        filters = _filters(params)
        by = tuple(dict.fromkeys([*([SUBJECT] if SUBJECT in filters else []), *params.getlist("groupBy")]))
        for name in by:
            _check_dimension(name, "groupBy")
        return _Query(windows, size, by, filters, start, end)


def _instant(params: QueryDict, name: str) -> datetime | None:
    text = params.get(name)
    if not text:
        return None
    try:
        # A plus sign in a URL is a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidQueryError(f"{name} must be a time (RFC 3339).", param=name) from error
    if not EARLIEST <= moment <= EARLIEST.replace(year=2199):
        raise InvalidQueryError(f"{name} must be a year from {EARLIEST.year} to 2199.", param=name)
    return moment


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise InvalidQueryError("windowTimeZone must be an IANA name.", param="windowTimeZone") from error


def _windows(span: Span, size: str, zone: ZoneInfo) -> Iterator[Span]:
    if size in _UNITS:
        yield from Calendar(zone).periods(_UNITS[size], span)
        return
    start = span.start
    while start < span.end:
        end = min(start.replace(second=0, microsecond=0) + _MINUTE, span.end)
        yield Span(start, end)
        start = end


def _filters(params: QueryDict) -> dict[str, list[str]]:
    filters: dict[str, list[str]] = {}
    if SUBJECT in params:
        filters[SUBJECT] = params.getlist(SUBJECT)
    for name in params:
        if name.startswith(_FILTER):
            filters[name.removeprefix(_FILTER).removesuffix("]")] = params.getlist(name)
    if text := params.get("advancedMeterGroupByFilters"):
        filters |= _advanced_filters(text)
    for name, values in filters.items():
        _check_dimension(name, "filterGroupBy")
        if len(values) > _MAX_VALUES:
            raise InvalidQueryError(f"A filter may have up to {_MAX_VALUES} values.", param=name)
    return {name: [clean_name(value).replace("\0", "") for value in values] for name, values in filters.items()}


def _advanced_filters(text: str) -> dict[str, list[str]]:
    name = "advancedMeterGroupByFilters"
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidQueryError(f"{name} must be JSON.", param=name) from error
    filters: dict[str, list[str]] = {}
    for dimension, condition in given.items() if isinstance(given, dict) else [(name, {})]:
        operators = condition if isinstance(condition, dict) and len(condition) == 1 else {}
        values = [operators["$eq"]] if "$eq" in operators else operators.get("$in")
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise InvalidQueryError(f"{name} supports $eq and $in with texts.", param=name)
        filters[dimension] = values
    return filters


def _check_dimension(name: str, param: str) -> None:
    if name not in DIMENSIONS:
        raise InvalidQueryError(f"{param} supports {', '.join(DIMENSIONS)}.", param=param)


def _row(query: _Query, row: MeterRow) -> dict[str, Any]:
    window, key = query.windows[row.window], dict(zip(query.by, row.key, strict=True))
    subject = key.pop(SUBJECT, None)
    return {
        "value": float(row.value),
        "windowStart": iso(window.start),
        "windowEnd": iso(window.end),
        "subject": subject,
        "groupBy": key,
    }


def _csv(query: _Query, rows: Sequence[MeterRow]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["window_start", "window_end", *query.by, "value"])
    for row in rows:
        window = query.windows[row.window]
        writer.writerow([iso(window.start), iso(window.end), *row.key, format(row.value.normalize(), "f")])
    return file.getvalue()
