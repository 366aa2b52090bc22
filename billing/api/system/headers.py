"""Document 000 (Glow): headers of requests and answers."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

TAGS = ("system", "pricing", "group")
"""What answers are about; each is marked with some of them."""


def _of_answers(name: str, description: str, kind: OpenApiTypes = OpenApiTypes.STR) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.HEADER, description=description, response=[200])


BYPASS = OpenApiParameter(
    "X-Bypass-Cache", OpenApiTypes.STR, OpenApiParameter.HEADER, description="1: do not answer from the cache."
)
CACHE_HIT = _of_answers(
    "X-Cache-Hit",
    "1: the answer was kept from an earlier request. Nothing has come in since, or it would not be served.",
    OpenApiTypes.INT,
)
CACHE_TAGS = _of_answers("X-Cache-Tags", "What the answer is about, separated by commas.")
INVALIDATE_TAGS = _of_answers("X-Invalidate-Tags", "Which kept answers are not served any more, separated by commas.")
TRUNCATED = _of_answers(
    "X-Costtrack-Truncated", "1: there are more runs than the export holds; the newest are in it.", OpenApiTypes.INT
)
