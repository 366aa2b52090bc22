"""Routes of limits and increase requests."""

from django.urls import path

from billing.api.limits.requests import IncreaseRequestViewSet
from billing.api.limits.views import LimitViewSet, ThresholdEventViewSet

_limits = "organizations/<str:slug>/limits"
_requests = "organizations/<str:slug>/limit-requests"

urlpatterns = [
    path(_limits, LimitViewSet.as_view({"get": "list", "post": "create"}), name="limits"),
    path(
        f"{_limits}/<int:pk>",
        LimitViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="limit",
    ),
    path(f"{_limits}/<int:pk>/raise", LimitViewSet.as_view({"post": "raise_temporarily"}), name="limit-raise"),
    path(f"{_limits}/<int:pk>/pause", LimitViewSet.as_view({"post": "pause"}), name="limit-pause"),
    path(f"{_limits}/<int:pk>/resume", LimitViewSet.as_view({"post": "resume"}), name="limit-resume"),
    path(
        f"{_limits}/<int:pk>/overrides/<int:override_id>",
        LimitViewSet.as_view({"delete": "end_override"}),
        name="limit-override",
    ),
    path(
        f"{_limits}/<int:pk>/threshold-events",
        ThresholdEventViewSet.as_view({"get": "list"}),
        name="limit-threshold-events",
    ),
    path(_requests, IncreaseRequestViewSet.as_view({"get": "list", "post": "create"}), name="limit-requests"),
    path(f"{_requests}/<int:pk>", IncreaseRequestViewSet.as_view({"get": "retrieve"}), name="limit-request"),
    path(f"{_requests}/<int:pk>/grant", IncreaseRequestViewSet.as_view({"post": "grant"}), name="limit-request-grant"),
    path(
        f"{_requests}/<int:pk>/decline",
        IncreaseRequestViewSet.as_view({"post": "decline"}),
        name="limit-request-decline",
    ),
]
