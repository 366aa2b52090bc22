"""`/organizations/{slug}/limits` and `/organizations/{slug}/limit-requests`: spend limits, managed."""
