"""OpenAPI descriptions of the rate limit headers."""

from typing import Any

_LIMIT = (
    "Requests that the credential may make in any 60 seconds, or all credentials of its organization if fewer are left."
)
_REMAINING = "Requests that are left now."
_RESET = "When the oldest request leaves the 60-second window"
_COUNT = {"type": "integer", "minimum": 0}

RATE_LIMIT_HEADERS: dict[str, dict[str, Any]] = {
    "RateLimit-Limit": {"schema": _COUNT, "description": _LIMIT},
    "RateLimit-Remaining": {"schema": _COUNT, "description": _REMAINING},
    "RateLimit-Reset": {"schema": _COUNT, "description": f"{_RESET}, in seconds from now."},
    "X-RateLimit-Limit": {"schema": _COUNT, "description": _LIMIT},
    "X-RateLimit-Remaining": {"schema": _COUNT, "description": _REMAINING},
    "X-RateLimit-Reset": {
        "schema": _COUNT,
        "description": f"{_RESET}, in epoch seconds. With the code spend_limit_exceeded: when the spend limit resets.",
    },
}
