"""`/organizations/{slug}/limits` and `/organizations/{slug}/limit-requests`: manage spend limits."""
