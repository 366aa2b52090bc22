"""The admin pages of what it cost: ledger, batches, prices, runs, and what waits for somebody."""

from billing.admin import batches, ledger, prices, quarantine, repricings, runs, unpriced

__all__ = ["batches", "ledger", "prices", "quarantine", "repricings", "runs", "unpriced"]
