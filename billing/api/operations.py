"""What endpoints have in common: operations that only read are declared in a line, and so is who may use them."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from drf_spectacular.utils import OpenApiParameter, extend_schema

from costtrack.filters import ReportFilterSet
from costtrack.serializers import StrictSerializer
from organizations.types import Scope

V = TypeVar("V", bound=Callable[..., Any])
Query = type[ReportFilterSet] | type[StrictSerializer] | None
"""What declares and validates the query parameters."""


class ReportEndpoint:
    """A mixin of views and viewsets that read costs, which plans without API access do not include."""

    required_scope: ClassVar[Scope | None] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True
    reads_replica: ClassVar[bool] = True


class LimitEndpoint:
    """A mixin of views of limits and authorizations. Every credential may use them, unless they name a scope."""

    required_scope: ClassVar[Scope | None] = None
    requires_api_plan: ClassVar[bool] = True
    openapi_tag: ClassVar[str] = "limits"


def operation(operation_id: str, query: Query, responses: Any, *headers: OpenApiParameter) -> Callable[[V], V]:
    """Decorate the method of a view that answers a GET. For one with a response cache see
    `billing.api.response_cache.cached_operation`."""
    parameters: list[Any] = []
    if query is not None:
        parameters = [query.parameters()] if issubclass(query, ReportFilterSet) else [query]
    return extend_schema(operation_id=operation_id, parameters=[*parameters, *headers], responses=responses)
