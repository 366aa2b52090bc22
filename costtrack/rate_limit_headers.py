"""The headers of answers to a credential whose plan limits its requests, as the OpenAPI document has them."""

from typing import Any

_LIMIT = "Requests that the plan lets a credential make in any 60 seconds."
_REMAINING = "How many of them are left now."
_RESET = "When the first of those that were made leaves the 60 seconds"
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
