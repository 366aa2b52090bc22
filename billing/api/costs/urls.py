"""Routes under /costs (documents 002 and 003)."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from billing.api.costs.entries import CostEntriesView
from billing.api.costs.runs import RunViewSet
from billing.api.costs.sessions import ExecutionViewSet, SessionViewSet
from billing.api.costs.summary import CostSummaryView

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("runs", RunViewSet, basename="costs-run")
router.register("sessions", SessionViewSet, basename="costs-session")
router.register("executions", ExecutionViewSet, basename="costs-execution")

urlpatterns = [
    # Before the runs, whose ids may contain slashes: a path that ends in /entries always lists entries.
    path("runs/<name:run_id>/entries", CostEntriesView.as_view(), name="costs-run-entries"),
    *router.urls,
    path("summary", CostSummaryView.as_view(), name="costs-summary"),
]
