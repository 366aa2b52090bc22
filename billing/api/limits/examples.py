"""Examples for the OpenAPI document."""

from drf_spectacular.utils import OpenApiExample

from costtrack.serializers import request_example

_FRIDAY = "2027-03-05T18:00:00Z"

OF_EACH_RUN = request_example("5 USD for each run", scope="run", window="lifetime", amount_usd="5")
OF_A_USER = request_example(
    "20 USD a week for one user, with a warning at 15 USD",
    scope="user",
    scope_value="ada",
    window="calendar_week",
    amount_usd="20",
    soft_amount_usd="15",
    thresholds=[80, 95, 100],
)
OF_USER_AND_MODEL = request_example(
    "A million tokens of one model for each user, in months from the 15th on",
    scope="user",
    conditions=[{"scope": "model", "scope_value": "gpt-4o"}],
    missing="refuse",
    window="calendar_month",
    month_day=15,
    unit="tokens",
    amount_usd="1000000",
)
LOWERED = request_example("Lowered", amount_usd="50")
RAISE = request_example("Raised until Friday evening", amount_usd="80", ends_at=_FRIDAY, reason="The launch.")
PAUSE = request_example("Pause one run under a per-value limit", value="run-17", reason="It is stuck in a loop.")
RESUME = request_example("End the pause", value="run-17", reason="It was stopped and fixed.")
OPEN = request_example("Open a limit that is reached", reason="The report is due.", ends_at=_FRIDAY)
LIMIT = OpenApiExample(
    "A limit with a temporary raise",
    value={
        "id": 12,
        "scope": "organization",
        "scope_value": "",
        "conditions": [],
        "members": [],
        "member_amounts": {},
        "missing": "allow",
        "default_value": "",
        "window": "rolling_7d",
        "month_day": 1,
        "unit": "usd",
        "amount_usd": "50",
        "action": "pause",
        "thresholds": [80, 95, 100],
        "soft_amount_usd": None,
        "fallback_price": None,
        "cheaper_models": ["gpt-4o-mini"],
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
REQUEST = request_example("For one user", limit=12, value="ada", amount_usd="40", reason="The audit needs more pages.")
GRANT = request_example(
    "Less than requested, until Friday evening", amount_usd="30", until=_FRIDAY, answer="This should do."
)
DECLINE = request_example("Declined", answer="Use the smaller model.")
