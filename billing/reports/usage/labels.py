"""Usage by user and by tag, for any window. Read-only.

Both are rolled up by UTC day; the rest of a window is summed from the ledger. The rollups know users by credential
and model and tags by nothing else, so the result is None for filters they do not know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.reports.spend.keys import resolve_credentials
from billing.reports.spend.sums import SumQuery, Sums, run_queries
from billing.reports.types import Window
from billing.reports.usage.figures import NO_CREDENTIAL, UsageFilter
from billing.rollups.definitions import SPEND_DAYS, TAG_DAYS, USER_DAYS, Rollup
from costtrack.calendar import Span
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class LabelUsage:
    """Usage of one user or tag; `name` is empty for usage without a user. A call with two tags counts in full under
    both."""

    name: str
    requests: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Labels:
    """The most expensive users and tags; None if unknown for the filter."""

    users: Sequence[LabelUsage] | None
    tags: Sequence[LabelUsage] | None


def labels(*, organization: Organization, filters: UsageFilter, window: Span, limit: int) -> Labels:
    within = Window(*window)
    user_query = _user_query(organization, filters, within, limit)
    tag_query = SumQuery(TAG_DAYS, ("tag",), within, limit=limit) if filters == UsageFilter() else None
    results = iter(
        run_queries(organization, *(query for query in (user_query, tag_query) if query is not None))
        if user_query
        else []
    )
    return Labels(
        users=_label_usage(next(results)) if user_query is not None else None,
        tags=_label_usage(next(results)) if tag_query is not None else None,
    )


def _user_query(organization: Organization, filters: UsageFilter, window: Window, limit: int) -> SumQuery | None:
    if filters.capability or filters.status or filters.client_id == NO_CREDENTIAL:
        return None
    only: dict[str, object] = {}
    if filters.client_id:
        only["credential_id"] = resolve_credentials(organization=organization, text=filters.client_id)
    if filters.model:
        only["model"] = filters.model
    rollup: Rollup = SPEND_DAYS if only else USER_DAYS
    return SumQuery(rollup, ("user_ref",), window, only, limit=limit)


def _label_usage(rows: Sequence[Sums]) -> list[LabelUsage]:
    named = [LabelUsage(sums.key[0], sums.requests, sums.cost) for sums in rows]
    return sorted(named, key=lambda label: (-label.cost_usd, label.name))
