"""Routes of the billing families, mounted at the root. Each has its own, so that a request is compared with few."""

from django.urls import include, path

from billing.api.intake import LiteLLMView
from billing.api.prices import PriceViewSet
from billing.api.repricings import RepricingViewSet
from billing.api.spend import urls as spend

_prices = "organizations/<str:slug>/prices"

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
]
