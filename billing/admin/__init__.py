"""The admin pages of what it cost: ledger, batches, prices, runs, limits, and what waits for somebody."""

from billing.admin import (
    authorizations,
    batches,
    crossings,
    deliveries,
    email_previews,
    increases,
    ledger,
    limits,
    notification_preferences,
    pages,
    prices,
    quarantine,
    repricings,
    runs,
    unpriced,
    webhooks,
)

__all__ = [
    "authorizations",
    "batches",
    "crossings",
    "deliveries",
    "email_previews",
    "increases",
    "ledger",
    "limits",
    "notification_preferences",
    "pages",
    "prices",
    "quarantine",
    "repricings",
    "runs",
    "unpriced",
    "webhooks",
]
