"""The HTTP surface (docs/architecture.md lists the API families). No path ends in a slash, except the admin's own."""

from csp.constants import SELF
from csp.decorators import csp_replace
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from costtrack.health.views import healthz, readyz

# The page has its own script, and does not need `unsafe-eval`.
try_it_page = csp_replace({"script-src": [SELF]})

admin.autodiscover()

urlpatterns = [
    path("", include("billing.api.urls")),
    path("", include("organizations.api.urls")),
    path("", include("billing.admin.notifications.urls")),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("account/", include("organizations.accounts.urls")),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("schema/docs", try_it_page(SpectacularSwaggerSplitView.as_view(url_name="schema")), name="schema-docs"),
]

handler400 = "costtrack.error_pages.bad_request"
handler403 = "costtrack.error_pages.permission_denied"
handler404 = "costtrack.error_pages.page_not_found"
handler500 = "costtrack.error_pages.server_error"
