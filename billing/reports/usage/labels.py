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


def labels(*, organization: Organization, wanted: UsageFilter, window: Span, most: int) -> Labels:
    within = Window(*window)
    of_users = _users(organization, wanted, within, most)
    of_tags = Question(TAG_DAYS, ("tag",), within, most=most) if wanted == UsageFilter() else None
    answers = iter(ask(organization, *(one for one in (of_users, of_tags) if one is not None)) if of_users else [])
    return Labels(
        users=_labelled(next(answers)) if of_users is not None else None,
        tags=_labelled(next(answers)) if of_tags is not None else None,
    )


def _users(organization: Organization, wanted: UsageFilter, window: Window, most: int) -> Question | None:
    if wanted.capability or wanted.status or wanted.client_id == NO_CREDENTIAL:
        return None
    only: dict[str, object] = {}
    if wanted.client_id:
        only["credential_id"] = credentials_meant(organization=organization, text=wanted.client_id)
    if wanted.model:
        only["model"] = wanted.model
    rollup: Rollup = SPEND_DAYS if only else USER_DAYS
    return Question(rollup, ("user_ref",), window, only, most=most)


def _labelled(found: Sequence[Sums]) -> list[Labelled]:
    named = [Labelled(sums.key[0], sums.requests, sums.cost) for sums in found]
    return sorted(named, key=lambda one: (-one.cost_usd, one.name))
