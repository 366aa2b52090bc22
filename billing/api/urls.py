"""Routes of the billing families, mounted at the root. Each family is an include, so that a request is matched
against few patterns.
"""

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from billing.api.agreements import AgreementViewSet
from billing.api.cloudevents import EventsView, LagoBatchView, OpenMeterOrLagoView, OpenMeterView
from billing.api.deliveries import DeliveryViewSet
from billing.api.exports import ExportFileView, ExportViewSet
from billing.api.intake import LiteLLMView
from billing.api.langfuse import HealthView, IngestionView, ProjectsView
from billing.api.meters import MeterListView, MeterQueryView, MeterView
from billing.api.metric_senders import MetricSenderViewSet
from billing.api.notification_addresses import NotificationAddressViewSet
from billing.api.organization_archive import ArchiveView
from billing.api.preferences import NotificationPreferencesView
from billing.api.prices import PriceViewSet
from billing.api.report_subscriptions import ReportSubscriptionViewSet
from billing.api.repricings import RepricingViewSet
from billing.api.spend import urls as spend
from billing.api.views import SavedViewViewSet
from billing.api.webhooks import WebhookViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("organizations/<str:slug>/prices", PriceViewSet, basename="price")
router.register("organizations/<str:slug>/prices/reprice", RepricingViewSet, basename="repricing")
router.register("organizations/<str:slug>/agreements", AgreementViewSet, basename="agreement")
router.register("organizations/<str:slug>/webhooks", WebhookViewSet, basename="webhook")
router.register(
    "organizations/<str:slug>/notification-addresses", NotificationAddressViewSet, basename="notification-address"
)
router.register("organizations/<str:slug>/reports", ReportSubscriptionViewSet, basename="report-subscription")
router.register("organizations/<str:slug>/metric-senders", MetricSenderViewSet, basename="metric-sender")
router.register("organizations/<str:slug>/views", SavedViewViewSet, basename="saved-view")
router.register("organizations/<str:slug>/exports", ExportViewSet, basename="export")
router.register("organizations/<str:slug>/deliveries", DeliveryViewSet, basename="delivery")

urlpatterns = [
    path("organizations/<str:slug>/exports/<int:pk>/file", ExportFileView.as_view(), name="export-file"),
    path("organizations/<str:slug>/archive", ArchiveView.as_view(), name="organization-archive"),
    path("usage/", include("billing.api.usage.urls")),
    path("costs/", include("billing.api.costs.urls")),
    path("spend/", include(spend.spend)),
    path("system/", include("billing.api.system.urls")),
    path("global/", include(spend.global_spend)),
    path("integrations/litellm", LiteLLMView.as_view(), name="integrations-litellm"),
    path("events", EventsView.as_view(), name="events"),
    path("api/v1/events", OpenMeterOrLagoView.as_view(), name="openmeter-events-v1"),
    path("api/v1/meters", MeterListView.as_view(), name="openmeter-meters"),
    path("api/v1/meters/<str:meter>", MeterView.as_view(), name="openmeter-meter"),
    path("api/v1/meters/<str:meter>/query", MeterQueryView.as_view(), name="openmeter-meter-query"),
    path("api/v1/events/batch", LagoBatchView.as_view(), name="lago-events-batch"),
    path("api/v3/openmeter/events", OpenMeterView.as_view(), name="openmeter-events"),
    path("otlp/v1/", include("billing.api.otlp_urls")),
    path("v1/", include(("billing.api.otlp_urls", "otlp-at-root"))),
    path("api/public/otel/v1/", include(("billing.api.otlp_urls", "otlp-of-langfuse"))),
    path("api/public/ingestion", IngestionView.as_view(), name="langfuse-ingestion"),
    path("api/public/projects", ProjectsView.as_view(), name="langfuse-projects"),
    path("api/public/health", HealthView.as_view(), name="langfuse-health"),
    path("", include("billing.api.limits.urls")),
    *router.urls,
    path(
        "organizations/<str:slug>/notification-preferences",
        NotificationPreferencesView.as_view(),
        name="notification-preferences",
    ),
]
