"""Routes under /system (document 000)."""

from django.urls import path

from billing.api.system.views import ExportView, GroupViewSet, PricingView, RefreshView

urlpatterns = [
    path("pricing", PricingView.as_view(), name="system-pricing"),
    path("groups", GroupViewSet.as_view({"post": "list"}), name="system-groups"),
    path("export", ExportView.as_view(), name="system-export"),
    path("refresh", RefreshView.as_view(), name="system-refresh"),
]
