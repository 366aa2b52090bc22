"""The Django admin of billing. Importing this package registers the model admins and the dashboard pages."""

from billing.admin import dashboard
from billing.admin.anomalies import anomaly_admin
from billing.admin.events import batch_admin, event_admin, metric_sender_admin, quarantine_admin, upload_admin
from billing.admin.limits import authorization_admin, increase_request_admin, limit_admin, threshold_event_admin
from billing.admin.notifications import (
    delivery_admin,
    email_preview_page,
    notices_page,
    notification_address_admin,
    notification_preferences_page,
    webhook_admin,
)
from billing.admin.prices import agreement_admin, credit_admin, price_admin, repricing_admin, unpriced_event_admin
from billing.admin.runs import generation_group_admin, run_admin, session_admin

__all__ = [
    "agreement_admin",
    "anomaly_admin",
    "authorization_admin",
    "batch_admin",
    "credit_admin",
    "dashboard",
    "delivery_admin",
    "email_preview_page",
    "event_admin",
    "generation_group_admin",
    "increase_request_admin",
    "limit_admin",
    "metric_sender_admin",
    "notices_page",
    "notification_address_admin",
    "notification_preferences_page",
    "price_admin",
    "quarantine_admin",
    "repricing_admin",
    "run_admin",
    "session_admin",
    "threshold_event_admin",
    "unpriced_event_admin",
    "upload_admin",
    "webhook_admin",
]
