"""Routes of the billing families, mounted at the root. Each family is an include, so that a request is matched
against few patterns.
"""

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from billing.api.agreements import AgreementViewSet
from billing.api.deliveries import DeliveryViewSet
from billing.api.intake import LiteLLMView
from billing.api.notification_addresses import NotificationAddressViewSet
from billing.api.preferences import NotificationPreferencesView
from billing.api.prices import PriceViewSet
from billing.api.repricings import RepricingViewSet
from billing.api.spend import urls as spend
from billing.api.webhooks import WebhookViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("organizations/<str:slug>/prices", PriceViewSet, basename="price")
router.register("organizations/<str:slug>/prices/reprice", RepricingViewSet, basename="repricing")
router.register("organizations/<str:slug>/agreements", AgreementViewSet, basename="agreement")
router.register("organizations/<str:slug>/webhooks", WebhookViewSet, basename="webhook")
router.register(
    "organizations/<str:slug>/notification-addresses", NotificationAddressViewSet, basename="notification-address"
)
router.register("organizations/<str:slug>/deliveries", DeliveryViewSet, basename="delivery")

urlpatterns = [
    path("usage/", include("billing.api.usage.urls")),
    path("costs/", include("billing.api.costs.urls")),
    path("spend/", include(spend.spend)),
    path("system/", include("billing.api.system.urls")),
    path("global/", include(spend.global_spend)),
    path("integrations/litellm", LiteLLMView.as_view(), name="integrations-litellm"),
    path("", include("billing.api.limits.urls")),
    *router.urls,
    path(
        "organizations/<str:slug>/notification-preferences",
        NotificationPreferencesView.as_view(),
        name="notification-preferences",
    ),
]
