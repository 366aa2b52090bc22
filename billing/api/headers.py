"""Request and response headers that several API families share."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter


def response_header(
    name: str, description: str, kind: OpenApiTypes = OpenApiTypes.STR, enum: list[Any] | None = None
) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.HEADER, description=description, enum=enum, response=[200])


AS_OF = response_header("X-Costtrack-As-Of", "The instant up to which the totals are complete.", OpenApiTypes.DATETIME)
UNPRICED = response_header(
    "X-Costtrack-Unpriced-Events",
    "Events that are excluded from the totals because their price is unknown.",
    OpenApiTypes.INT,
)
BYPASS = OpenApiParameter(
    "X-Bypass-Cache", OpenApiTypes.STR, OpenApiParameter.HEADER, description="1: bypass the response cache."
)
NEXT_CURSOR = response_header("X-Next-Cursor", "`cursor` of the next page. Absent on the last page.")
CACHE_HIT = response_header(
    "X-Cache-Hit",
    "1: the response comes from the cache. Nothing has changed since it was cached.",
    OpenApiTypes.INT,
)
CACHE_HEADERS = (AS_OF, BYPASS, CACHE_HIT)
"""Headers of operations with a response cache (`billing.api.response_cache`)."""
