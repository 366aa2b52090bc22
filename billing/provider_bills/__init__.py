"""Bills of providers: their files and imports. `billing.reports.provider_bills` compares them with the ledger."""
