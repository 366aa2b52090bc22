"""Operations that only read: what the OpenAPI document says of them is declared in a line."""

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiParameter, extend_schema

from costtrack.filters import ReportFilterSet
from costtrack.serializers import StrictSerializer

V = TypeVar("V", bound=Callable[..., Any])
Query = type[ReportFilterSet] | type[StrictSerializer] | None
"""What declares and validates the query parameters."""


def operation(operation_id: str, query: Query, responses: Any, *headers: OpenApiParameter) -> Callable[[V], V]:
    """Decorate the method of a view that answers a GET. For one with a response cache see
    `billing.api.response_cache.cached_operation`."""
    parameters = [query.parameters() if issubclass(query, ReportFilterSet) else query] if query is not None else []
    return extend_schema(operation_id=operation_id, parameters=[*parameters, *headers], responses=responses)
