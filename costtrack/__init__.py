"""costtrack: an exact, multi-tenant ledger of AI spend."""

__version__ = "0.1.0"
