"""Routes under /usage (document 001, and ledger rows)."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from billing.api.limits.increase_requests import OwnIncreaseRequestViewSet
from billing.api.usage.access import UsageAccessView
from billing.api.usage.allocation import (
    UsageAllocationFileView,
    UsageAllocationMonthsView,
    UsageAllocationPreviewView,
    UsageAllocationRuleEndView,
    UsageAllocationRulesView,
    UsageAllocationView,
)
from billing.api.usage.anomalies import UsageAnomaliesView
from billing.api.usage.authorizations import AuthorizationsView, AuthorizationView
from billing.api.usage.breakdown import UsageBreakdownView
from billing.api.usage.commitments import (
    UsageCommitmentEndView,
    UsageCommitmentReportView,
    UsageCommitmentsView,
)
from billing.api.usage.corrections import EventCorrectionViewSet
from billing.api.usage.credits import CreditViewSet
from billing.api.usage.events import EventViewSet
from billing.api.usage.export import UsageExportView
from billing.api.usage.figures import UsageCapabilitiesView, UsageCredentialsView, UsageSummaryView
from billing.api.usage.forecast import UsageForecastView
from billing.api.usage.limits import UsageLimitsView, UsageOwnView
from billing.api.usage.outcomes import UsageOutcomeCostsView, UsageOutcomesView
from billing.api.usage.own_requests import UsageOwnRequestsView
from billing.api.usage.price_check import UsagePriceCheckView
from billing.api.usage.provider_bills import (
    UsageBillConnectionsView,
    UsageBillConnectionView,
    UsageBillFetchView,
    UsageBillImportsView,
    UsageBillKeysView,
    UsageBillKeyView,
    UsageProviderBillsView,
)
from billing.api.usage.requests import UsageRequestsView
from billing.api.usage.runs import UsageRunsView
from billing.api.usage.statements import (
    StatementCloseView,
    StatementCorrectionsView,
    StatementFileView,
    StatementFocusView,
    StatementListView,
    StatementView,
)
from billing.api.usage.timeseries import UsageTimeseriesView

_event = "events/<uuid:event_id>"

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("events", EventViewSet, basename="usage-event")
router.register("credits", CreditViewSet, basename="usage-credit")

urlpatterns = [
    # The most frequent ones first.
    *router.urls,
    path("authorizations", AuthorizationsView.as_view(), name="usage-authorizations"),
    path("summary", UsageSummaryView.as_view(), name="usage-summary"),
    path("timeseries", UsageTimeseriesView.as_view(), name="usage-timeseries"),
    path("capabilities", UsageCapabilitiesView.as_view(), name="usage-capabilities"),
    path("credentials", UsageCredentialsView.as_view(), name="usage-credentials"),
    path("breakdown", UsageBreakdownView.as_view(), name="usage-breakdown"),
    path("requests", UsageRequestsView.as_view(), name="usage-requests"),
    path("runs", UsageRunsView.as_view(), name="usage-runs"),
    path("outcomes", UsageOutcomesView.as_view(), name="usage-outcomes"),
    path("outcomes/costs", UsageOutcomeCostsView.as_view(), name="usage-outcome-costs"),
    path("allocation", UsageAllocationView.as_view(), name="usage-allocation"),
    path("allocation/months", UsageAllocationMonthsView.as_view(), name="usage-allocation-months"),
    path("allocation/file", UsageAllocationFileView.as_view(), name="usage-allocation-file"),
    path("allocation/preview", UsageAllocationPreviewView.as_view(), name="usage-allocation-preview"),
    path("allocation/rules", UsageAllocationRulesView.as_view(), name="usage-allocation-rules"),
    path("allocation/rules/<int:pk>/end", UsageAllocationRuleEndView.as_view(), name="usage-allocation-rule-end"),
    path("commitments", UsageCommitmentsView.as_view(), name="usage-commitments"),
    path("commitments/report", UsageCommitmentReportView.as_view(), name="usage-commitment-report"),
    path("commitments/<int:pk>/end", UsageCommitmentEndView.as_view(), name="usage-commitment-end"),
    path("anomalies", UsageAnomaliesView.as_view(), name="usage-anomalies"),
    path("forecast", UsageForecastView.as_view(), name="usage-forecast"),
    path("price-check", UsagePriceCheckView.as_view(), name="usage-price-check"),
    path("provider-bills", UsageProviderBillsView.as_view(), name="usage-provider-bills"),
    path("provider-bills/imports", UsageBillImportsView.as_view(), name="usage-bill-imports"),
    path("provider-bills/connections", UsageBillConnectionsView.as_view(), name="usage-bill-connections"),
    path("provider-bills/connections/<int:pk>", UsageBillConnectionView.as_view(), name="usage-bill-connection"),
    path("provider-bills/connections/<int:pk>/fetch", UsageBillFetchView.as_view(), name="usage-bill-fetch"),
    path("provider-bills/keys", UsageBillKeysView.as_view(), name="usage-bill-keys"),
    path("provider-bills/keys/<int:pk>", UsageBillKeyView.as_view(), name="usage-bill-key"),
    path("statements", StatementListView.as_view(), name="usage-statements"),
    path("statements/<str:month>", StatementView.as_view(), name="usage-statement"),
    path("statements/<str:month>/focus", StatementFocusView.as_view(), name="usage-statement-focus"),
    path("statements/<str:month>/file", StatementFileView.as_view(), name="usage-statement-file"),
    path("statements/<str:month>/corrections", StatementCorrectionsView.as_view(), name="usage-statement-corrections"),
    path("statements/<str:month>/close", StatementCloseView.as_view(), name="usage-statement-close"),
    path("export", UsageExportView.as_view(), name="usage-export"),
    path("events/<uuid:event_id>/void", EventCorrectionViewSet.as_view({"post": "void"}), name="usage-event-void"),
    path(
        "events/<uuid:event_id>/adjust", EventCorrectionViewSet.as_view({"post": "adjust"}), name="usage-event-adjust"
    ),
    path("limits", UsageLimitsView.as_view(), name="usage-limits"),
    path("access", UsageAccessView.as_view(), name="usage-access"),
    path("own", UsageOwnView.as_view(), name="usage-own"),
    path(
        "own/limit-requests",
        OwnIncreaseRequestViewSet.as_view({"get": "list", "post": "create"}),
        name="usage-own-limit-requests",
    ),
    path(
        "own/limit-requests/<int:pk>",
        OwnIncreaseRequestViewSet.as_view({"get": "retrieve"}),
        name="usage-own-limit-request",
    ),
    path("own/requests", UsageOwnRequestsView.as_view(), name="usage-own-requests"),
    path("authorizations/<uuid:authorization_id>", AuthorizationView.as_view(), name="usage-authorization"),
]
