"""Routes of limits and increase requests."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from billing.api.limits.increase_requests import IncreaseRequestViewSet
from billing.api.limits.views import LimitViewSet, ThresholdEventViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("organizations/<str:slug>/limits", LimitViewSet, basename="limit")
router.register("organizations/<str:slug>/limit-requests", IncreaseRequestViewSet, basename="limit-request")

urlpatterns = [
    *router.urls,
    path(
        "organizations/<str:slug>/limits/<int:pk>/threshold-events",
        ThresholdEventViewSet.as_view({"get": "list"}),
        name="limit-threshold-events",
    ),
]
