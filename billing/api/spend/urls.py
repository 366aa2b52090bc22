"""Routes under /spend and /global (document 004)."""

from django.urls import path

from billing.api.spend.calculate import SpendCalculateView
from billing.api.spend.reports import GlobalSpendTagsView, SpendReportView, SpendTagsView
from billing.api.spend.spend_logs import SpendLogPageViewSet, SpendLogUiViewSet, SpendLogViewSet
from billing.api.spend.totals import (
    GlobalActivityView,
    GlobalSpendKeysView,
    GlobalSpendLogsView,
    GlobalSpendModelsView,
    GlobalSpendView,
    SpendKeysView,
    SpendUsersView,
)

spend = [
    path("calculate", SpendCalculateView.as_view(), name="spend-calculate"),
    path("logs", SpendLogViewSet.as_view({"get": "list"}), name="spend-logs"),
    path("logs/v2", SpendLogPageViewSet.as_view({"get": "list"}), name="spend-logs-page"),
    path("logs/ui", SpendLogUiViewSet.as_view({"get": "list"}), name="spend-logs-ui"),
    path("tags", SpendTagsView.as_view(), name="spend-tags"),
    path("keys", SpendKeysView.as_view(), name="spend-keys"),
    path("users", SpendUsersView.as_view(), name="spend-users"),
]
global_spend = [
    path("spend", GlobalSpendView.as_view(), name="global-spend"),
    path("spend/logs", GlobalSpendLogsView.as_view(), name="global-spend-logs"),
    path("spend/keys", GlobalSpendKeysView.as_view(), name="global-spend-keys"),
    path("spend/models", GlobalSpendModelsView.as_view(), name="global-spend-models"),
    path("spend/tags", GlobalSpendTagsView.as_view(), name="global-spend-tags"),
    path("spend/report", SpendReportView.as_view(), name="global-spend-report"),
    path("activity", GlobalActivityView.as_view(), name="global-activity"),
]
