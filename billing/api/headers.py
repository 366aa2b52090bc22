"""Headers of requests and answers that more than one family has."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter


def of_answers(name: str, description: str, kind: OpenApiTypes = OpenApiTypes.STR) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.HEADER, description=description, response=[200])


AS_OF = of_answers("X-Costtrack-As-Of", "When the totals held.", OpenApiTypes.DATETIME)
UNPRICED = of_answers(
    "X-Costtrack-Unpriced-Events",
    "Events that are not in the totals because no price is known for them yet.",
    OpenApiTypes.INT,
)
BYPASS = OpenApiParameter(
    "X-Bypass-Cache", OpenApiTypes.STR, OpenApiParameter.HEADER, description="1: do not answer from the cache."
)
CACHE_HIT = of_answers(
    "X-Cache-Hit",
    "1: the answer was kept from an earlier request. Nothing has come in since, or it would not be served.",
    OpenApiTypes.INT,
)
KEPT = (AS_OF, BYPASS, CACHE_HIT)
"""Of operations whose answers are kept (`billing.api.response_cache`)."""
