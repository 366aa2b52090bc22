"""Routes under /costs (documents 002 and 003)."""

from django.urls import path

from billing.api.costs.entries import CostEntriesView
from billing.api.costs.executions import ExecutionCostsView, ExecutionCostView
from billing.api.costs.runs import AllRunCostsView, RunCostsView
from billing.api.costs.sessions import SessionCostsView, SessionCostView
from billing.api.costs.summary import CostSummaryView

urlpatterns = [
    path("runs", AllRunCostsView.as_view(), name="costs-runs"),
    # Before the runs, whose ids may contain slashes: a path that ends in /entries always lists entries.
    path("runs/<path:run_id>/entries", CostEntriesView.as_view(), name="costs-run-entries"),
    path("runs/<path:run_id>", RunCostsView.as_view(), name="costs-run"),
    path("sessions", SessionCostsView.as_view(), name="costs-sessions"),
    path("sessions/<path:session_id>", SessionCostView.as_view(), name="costs-session"),
    path("executions", ExecutionCostsView.as_view(), name="costs-executions"),
    path("executions/<path:execution_id>", ExecutionCostView.as_view(), name="costs-execution"),
    path("summary", CostSummaryView.as_view(), name="costs-summary"),
]
