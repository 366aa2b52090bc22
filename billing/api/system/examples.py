"""Document 000 (Glow): examples for the OpenAPI document."""

from drf_spectacular.utils import OpenApiExample

_MODEL, _AGENT, _USER = (
    "5b0e4a9e-6f0c-5a8d-9a3c-0c7a5e0a4b11",
    "9a7c1c52-2f4e-5f43-8f5d-6a3f6f1d2e90",
    "c1d0b7a4-3f0e-5e0e-b7a8-2e6f1b9c4d55",
)

PRICING = [
    OpenApiExample(
        "A month",
        value={"start_date": "2025-01-01", "end_date": "2025-01-31"},
        request_only=True,
    ),
    OpenApiExample(
        "Costs by day and model",
        value={
            "daily": [{"date_key": "2025-01-15", "model_id": _MODEL, "total_cost": "0.0123", "run_count": 4}],
            "resources": {
                "agents": {_AGENT: {"name": "Student persona"}},
                "models": {_MODEL: {"name": "gpt-4o"}},
            },
            "model_options": [{"value": _MODEL, "label": "gpt-4o", "count": 4}],
            "agent_options": [{"value": _AGENT, "label": "Student persona", "count": 4}],
            "total_count": 4,
            "analytics": {
                "fields": {
                    "date_range": {"visible": True, "disabled": False},
                    "departments": {"visible": False, "disabled": False},
                    "cohorts": {"visible": False, "disabled": False},
                    "roles": {"visible": False, "disabled": False},
                    "attempts": {"visible": False, "disabled": False},
                },
                "department_options": [],
                "cohort_options": [],
                "role_options": [],
                "attempt_options": [],
                "date_range_earliest": "2025-01-15",
                "date_range_latest": "2025-01-15",
            },
            "history": None,
        },
        response_only=True,
        status_codes=["200"],
    ),
]

GROUPS = [
    OpenApiExample(
        "The first page",
        value={"page": 1, "page_size": 25, "sort_order": "desc"},
        request_only=True,
    ),
    OpenApiExample(
        "A page of groups",
        value={
            "data": [
                {
                    "group_id": "2f1c8d0a-4a55-4a08-8d0e-5f7f3b1e6c02",
                    "session_id": "office-hours-17",
                    "group_name": "Office hours",
                    "first_run_at": "2025-01-15T09:00:00Z",
                    "last_run_at": "2025-01-15T09:12:30Z",
                    "run_count": 4,
                    "total_input_tokens": 5200,
                    "total_output_tokens": 640,
                    "total_tokens": 5840,
                    "total_cost": "0.0123",
                    "agent_ids": [_AGENT],
                    "model_ids": [_MODEL],
                    "profile_ids": [_USER],
                    "agent_names": ["Student persona"],
                    "model_names": ["gpt-4o"],
                    "profile_names": ["ada"],
                }
            ],
            "total_count": 1,
            "page": 1,
            "page_size": 25,
            "total_pages": 1,
        },
        response_only=True,
        status_codes=["200"],
    ),
]

EXPORT = [
    OpenApiExample("Everything", value={}, request_only=True),
    OpenApiExample(
        "A ZIP",
        value={
            "content": "UEsDBBQAAAAIAA...",
            "file_name": "pricing_export_2025-01-31_120000.zip",
            "mime_type": "application/zip",
            "row_count": 4,
        },
        response_only=True,
        status_codes=["200"],
    ),
]

REFRESH = [
    OpenApiExample("Everything", value={}, request_only=True),
    OpenApiExample(
        "Done",
        value={
            "success": True,
            "refreshed_views": ["model_days", "group_days", "group_totals"],
            "invalidated_tags": ["system", "pricing", "group"],
            "idempotency_key": None,
        },
        response_only=True,
        status_codes=["200"],
    ),
]
