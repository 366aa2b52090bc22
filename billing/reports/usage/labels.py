"""Usage by user and by tag, for any window. Read-only.

Both are kept by the UTC day; what a window cuts off a day is added up from the ledger. Users are also known by
credential and model, tags by nothing else: what a filter leaves of them beyond that nobody knows, and None says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.reports.spend.keys import credentials_meant
from billing.reports.spend.sums import Question, Sums, ask
from billing.reports.types import Window
from billing.reports.usage.figures import NO_CREDENTIAL, UsageFilter
from billing.rollups.definitions import SPEND_DAYS, TAG_DAYS, USER_DAYS, Rollup
from costtrack.calendar import Span
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class Labelled:
    """`name` is empty for what has no user. A call with two tags counts in full under both."""

    name: str
    requests: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Labels:
    """The dearest users and tags; None: not known for this filter."""

    users: Sequence[Labelled] | None
    tags: Sequence[Labelled] | None


def labels(*, organization: Organization, filters: UsageFilter, window: Span, most: int) -> Labels:
    within = Window(*window)
    of_users = _users(organization, filters, within, most)
    of_tags = Question(TAG_DAYS, ("tag",), within, most=most) if filters == UsageFilter() else None
    answers = iter(ask(organization, *(one for one in (of_users, of_tags) if one is not None)) if of_users else [])
    return Labels(
        users=_labelled(next(answers)) if of_users is not None else None,
        tags=_labelled(next(answers)) if of_tags is not None else None,
    )


def _users(organization: Organization, filters: UsageFilter, window: Window, most: int) -> Question | None:
    if filters.capability or filters.status or filters.client_id == NO_CREDENTIAL:
        return None
    only: dict[str, object] = {}
    if filters.client_id:
        only["credential_id"] = credentials_meant(organization=organization, text=filters.client_id)
    if filters.model:
        only["model"] = filters.model
    rollup: Rollup = SPEND_DAYS if only else USER_DAYS
    return Question(rollup, ("user_ref",), window, only, most=most)


def _labelled(found: Sequence[Sums]) -> list[Labelled]:
    named = [Labelled(sums.key[0], sums.requests, sums.cost) for sums in found]
    return sorted(named, key=lambda one: (-one.cost_usd, one.name))
