"""Examples for the OpenAPI document."""

from drf_spectacular.utils import OpenApiExample

OF_EACH_RUN = OpenApiExample(
    "5 USD for each run",
    value={"scope": "run", "window": "lifetime", "amount_usd": "5"},
    request_only=True,
)
OF_A_USER = OpenApiExample(
    "20 USD a week for one user, with a warning at 15 USD",
    value={
        "scope": "user",
        "scope_value": "ada",
        "window": "calendar_week",
        "amount_usd": "20",
        "soft_amount_usd": "15",
        "thresholds": [80, 95, 100],
    },
    request_only=True,
)
LOWERED = OpenApiExample("Lowered", value={"amount_usd": "50"}, request_only=True)
RAISE = OpenApiExample(
    "Raised until Friday evening",
    value={"amount_usd": "80", "ends_at": "2027-03-05T18:00:00Z", "reason": "The launch."},
    request_only=True,
)
PAUSE = OpenApiExample(
    "Pause one run under a per-value limit",
    value={"value": "run-17", "reason": "It is stuck in a loop."},
    request_only=True,
)
RESUME = OpenApiExample(
    "End the pause", value={"value": "run-17", "reason": "It was stopped and fixed."}, request_only=True
)
OPEN = OpenApiExample(
    "Open a limit that is reached",
    value={"reason": "The report is due.", "ends_at": "2027-03-05T18:00:00Z"},
    request_only=True,
)
LIMIT = OpenApiExample(
    "A limit with a temporary raise",
    value={
        "id": 12,
        "scope": "organization",
        "scope_value": "",
        "window": "rolling_7d",
        "amount_usd": "50",
        "action": "pause",
        "thresholds": [80, 95, 100],
        "soft_amount_usd": None,
        "fallback_price": None,
        "starts_at": None,
        "ends_at": None,
        "is_plan": True,
        "created_at": "2027-01-04T09:00:00Z",
        "overrides": [
            {
                "id": 7,
                "kind": "raise",
                "value": "",
                "amount_usd": "80",
                "starts_at": "2027-03-01T08:00:00Z",
                "ends_at": "2027-03-05T18:00:00Z",
                "reason": "The launch.",
                "actor": "owner@acme.example",
            }
        ],
    },
    response_only=True,
)
REQUEST = OpenApiExample(
    "For one user",
    value={"limit": 12, "value": "ada", "amount_usd": "40", "reason": "The audit needs more pages."},
    request_only=True,
)
GRANT = OpenApiExample(
    "Less than requested, until Friday evening",
    value={"amount_usd": "30", "until": "2027-03-05T18:00:00Z", "answer": "This should do."},
    request_only=True,
)
DECLINE = OpenApiExample("Declined", value={"answer": "Use the smaller model."}, request_only=True)
