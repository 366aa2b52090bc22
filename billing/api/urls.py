"""Routes of the billing families, mounted at the root. Each family is an include, so that a request is matched
against few patterns.
"""

from django.urls import include, path

from billing.api.deliveries import DeliveryViewSet
from billing.api.intake import LiteLLMView
from billing.api.preferences import NotificationPreferencesView
from billing.api.prices import PriceViewSet
from billing.api.repricings import RepricingViewSet
from billing.api.spend import urls as spend
from billing.api.webhooks import WebhookViewSet

_prices = "organizations/<str:slug>/prices"
_webhooks = "organizations/<str:slug>/webhooks"
_deliveries = "organizations/<str:slug>/deliveries"

urlpatterns = [
    path("usage/", include("billing.api.usage.urls")),
    path("costs/", include("billing.api.costs.urls")),
    path("spend/", include(spend.spend)),
    path("system/", include("billing.api.system.urls")),
    path("global/", include(spend.global_spend)),
    path("integrations/litellm", LiteLLMView.as_view(), name="integrations-litellm"),
    path(_prices, PriceViewSet.as_view({"get": "list", "post": "create"}), name="prices"),
    path(f"{_prices}/<int:pk>", PriceViewSet.as_view({"get": "retrieve"}), name="price"),
    path(f"{_prices}/<int:pk>/end", PriceViewSet.as_view({"post": "end"}), name="price-end"),
    path(f"{_prices}/reprice", RepricingViewSet.as_view({"get": "list", "post": "create"}), name="repricings"),
    path(f"{_prices}/reprice/<int:pk>", RepricingViewSet.as_view({"get": "retrieve"}), name="repricing"),
    path("", include("billing.api.limits.urls")),
    path(_webhooks, WebhookViewSet.as_view({"get": "list", "post": "create"}), name="webhooks"),
    path(
        f"{_webhooks}/<int:pk>",
        WebhookViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="webhook",
    ),
    path(f"{_webhooks}/<int:pk>/rotate", WebhookViewSet.as_view({"post": "rotate"}), name="webhook-rotate"),
    path(f"{_webhooks}/<int:pk>/enable", WebhookViewSet.as_view({"post": "enable"}), name="webhook-enable"),
    path(f"{_webhooks}/<int:pk>/test", WebhookViewSet.as_view({"post": "test"}), name="webhook-test"),
    path(_deliveries, DeliveryViewSet.as_view({"get": "list"}), name="deliveries"),
    path(f"{_deliveries}/<int:pk>", DeliveryViewSet.as_view({"get": "retrieve"}), name="delivery"),
    path(f"{_deliveries}/<int:pk>/resend", DeliveryViewSet.as_view({"post": "resend"}), name="delivery-resend"),
    path(
        "organizations/<str:slug>/notification-preferences",
        NotificationPreferencesView.as_view(),
        name="notification-preferences",
    ),
]
