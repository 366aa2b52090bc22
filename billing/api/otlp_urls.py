"""Routes of OTLP/HTTP, below a prefix that exporters are configured with."""

from django.urls import path

from billing.api.otlp import LogsView, MetricsView, TracesView

urlpatterns = [
    path("traces", TracesView.as_view(), name="otlp-traces"),
    path("logs", LogsView.as_view(), name="otlp-logs"),
    path("metrics", MetricsView.as_view(), name="otlp-metrics"),
]
