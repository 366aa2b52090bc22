"""Document 000 (Glow): request and response headers."""

from drf_spectacular.types import OpenApiTypes

from billing.api.headers import response_header

TAGS = ("system", "pricing", "group")
"""All cache tags; each response has some of them."""


CACHE_TAGS = response_header("X-Cache-Tags", "Cache tags of the response, comma-separated.")
INVALIDATE_TAGS = response_header(
    "X-Invalidate-Tags", "Cache tags whose cached responses were dropped, comma-separated."
)
TRUNCATED = response_header(
    "X-Costtrack-Truncated", "1: there are more runs than the export contains; it has the newest.", OpenApiTypes.INT
)
