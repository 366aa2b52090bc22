"""Pages about one organization, below `/o/<slug>/admin/`.

One package per page. Importing this package registers them.
"""

from billing.admin.dashboard import (
    bill_connections_page,
    bill_key_page,
    commitments_page,
    forecast_page,
    index_page,
    outcomes_page,
    own_increase_page,
    own_usage_page,
    plan_page,
    price_check_page,
    provider_bills_page,
    reports_page,
    statements_page,
)
from billing.admin.dashboard.allocation import allocation_page, rule_page
from billing.admin.dashboard.explore import explore_page
from billing.admin.dashboard.exports import exports_page
from billing.admin.dashboard.getting_started import getting_started_page
from billing.admin.dashboard.pricing import pricing_page
from billing.admin.dashboard.request_log import request_log_page
from billing.admin.dashboard.runs import run_list_page, run_page
from billing.admin.dashboard.sessions import execution_page, session_list_page, session_page
from billing.admin.dashboard.usage import usage_page

__all__ = [
    "allocation_page",
    "bill_connections_page",
    "bill_key_page",
    "commitments_page",
    "execution_page",
    "explore_page",
    "exports_page",
    "forecast_page",
    "getting_started_page",
    "index_page",
    "outcomes_page",
    "own_increase_page",
    "own_usage_page",
    "plan_page",
    "price_check_page",
    "pricing_page",
    "provider_bills_page",
    "reports_page",
    "request_log_page",
    "rule_page",
    "run_list_page",
    "run_page",
    "session_list_page",
    "session_page",
    "statements_page",
    "usage_page",
]
