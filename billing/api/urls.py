"""Routes of the billing families, mounted at the root."""

from django.urls import path

from billing.api.corrections import EventAdjustView, EventVoidView
from billing.api.events import EventsView, EventView
from billing.api.intake import LiteLLMView
from billing.api.prices import PriceViewSet
from billing.api.repricings import RepricingViewSet
from billing.api.runs import AllRunCostsView, RunCostsView

_prices = "organizations/<str:slug>/prices"

urlpatterns = [
    path(_prices, PriceViewSet.as_view({"get": "list", "post": "create"}), name="prices"),
    path(f"{_prices}/<int:pk>", PriceViewSet.as_view({"get": "retrieve"}), name="price"),
    path(f"{_prices}/<int:pk>/end", PriceViewSet.as_view({"post": "end"}), name="price-end"),
    path(f"{_prices}/reprice", RepricingViewSet.as_view({"get": "list", "post": "create"}), name="repricings"),
    path(f"{_prices}/reprice/<int:pk>", RepricingViewSet.as_view({"get": "retrieve"}), name="repricing"),
    path("usage/events", EventsView.as_view(), name="usage-events"),
    path("usage/events/<uuid:event_id>", EventView.as_view(), name="usage-event"),
    path("usage/events/<uuid:event_id>/void", EventVoidView.as_view(), name="usage-event-void"),
    path("usage/events/<uuid:event_id>/adjust", EventAdjustView.as_view(), name="usage-event-adjust"),
    path("integrations/litellm", LiteLLMView.as_view(), name="integrations-litellm"),
    path("costs/runs", AllRunCostsView.as_view(), name="costs-runs"),
    path("costs/runs/<path:run_id>", RunCostsView.as_view(), name="costs-run"),
]
