"""Document 000 (Glow): headers of requests and answers."""

from drf_spectacular.types import OpenApiTypes

from billing.api.headers import of_answers

TAGS = ("system", "pricing", "group")
"""What answers are about; each is marked with some of them."""


CACHE_TAGS = of_answers("X-Cache-Tags", "What the answer is about, separated by commas.")
INVALIDATE_TAGS = of_answers("X-Invalidate-Tags", "Which kept answers are not served any more, separated by commas.")
TRUNCATED = of_answers(
    "X-Costtrack-Truncated", "1: there are more runs than the export holds; the newest are in it.", OpenApiTypes.INT
)
