"""costtrack: one exact ledger of AI spend for many organizations."""

__version__ = "0.1.0"
