"""What tags, customers, credentials, users and models cost (document 004). Read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.reports.spend.sums import Question, Sums, ask
from billing.reports.types import Window
from billing.rollups.definitions import (
    CUSTOMER_DAYS,
    MODEL_DAYS,
    SPEND_DAYS,
    TAG_DAYS,
    USAGE_DAYS,
    USER_TOTALS,
)
from costtrack.money import ZERO
from organizations.models import APICredential, Organization

TEAM = "team:"
"""Tags that begin with this name teams."""
UNASSIGNED = "Unassigned Team"


@dataclass(frozen=True, slots=True)
class Named:
    """What something with a name cost, and its model calls."""

    name: str
    spend: Decimal
    calls: int


@dataclass(frozen=True, slots=True)
class Share:
    """A part of what something cost: one model, called with one credential (0: with none)."""

    model: str
    credential: int
    spend: Decimal
    total_tokens: int


@dataclass(frozen=True, slots=True)
class OfDay:
    """What a team or a customer cost on a day. `shares` is empty where nobody knows them."""

    name: str
    spend: Decimal
    shares: Sequence[Share]


@dataclass(frozen=True, slots=True)
class KeyCosts:
    """What was called with a credential (0: without one), model by model."""

    credential: int
    models: Mapping[str, Sums]

    @property
    def spend(self) -> Decimal:
        return sum((sums.cost for sums in self.models.values()), ZERO)


@dataclass(frozen=True, slots=True)
class DayActivity:
    """A UTC day's model calls and tokens."""

    day: date
    spend: Decimal
    calls: int
    total_tokens: int


def spend_by_tag(*, organization: Organization, window: Window, tags: Sequence[str] = ()) -> list[Named]:
    """The dearest first. A call with two tags counts in full under both. `tags`: only these."""
    only = {"tag": tuple(tags)} if tags else {}
    (found,) = ask(organization, Question(TAG_DAYS, ("tag",), window, only))
    return by_spend(found)


def spend_by_user(*, organization: Organization, user: str | None = None) -> list[Named]:
    """Over all time, the dearest first; "" is what has no user."""
    only = {"user_ref": user} if user is not None else {}
    (found,) = ask(organization, Question(USER_TOTALS, ("user_ref",), only=only))
    return by_spend(found)


def spend_by_model(*, organization: Organization, window: Window) -> list[Named]:
    """The dearest first; "" is what has no model."""
    (found,) = ask(organization, Question(MODEL_DAYS, ("model",), window))
    return by_spend(found)


def spend_by_credential(*, organization: Organization, window: Window) -> list[tuple[APICredential, Decimal]]:
    """Every credential of the organization, the dearest first."""
    (found,) = ask(organization, Question(USAGE_DAYS, ("credential_id",), window))
    spend = {int(sums.key[0]): sums.cost for sums in found}
    credentials = APICredential.objects.of(organization).order_by("pk")
    costs = [(credential, spend.get(credential.pk, ZERO)) for credential in credentials]
    return sorted(costs, key=lambda one: one[1], reverse=True)


def activity(*, organization: Organization, window: Window, credentials: tuple[int, ...] | None) -> list[DayActivity]:
    """The days that have events, in order; with `credentials` only what they did."""
    query = Question(MODEL_DAYS, ("day",), window)
    if credentials is not None:
        query = Question(USAGE_DAYS, ("day",), window, {"credential_id": credentials})
    (found,) = ask(organization, query)
    return [
        DayActivity(date.fromisoformat(sums.key[0]), sums.cost, sums.requests, sums.total_tokens)
        for sums in sorted(found)
    ]


def costs_by_key(
    *, organization: Organization, window: Window, credentials: tuple[int, ...] | None, user: str | None
) -> list[KeyCosts]:
    """The dearest credential first; only some credentials, or one user's calls, if they are named."""
    only: dict[str, object] = {} if credentials is None else {"credential_id": credentials}
    rollup = USAGE_DAYS
    if user is not None:
        rollup, only = SPEND_DAYS, {**only, "user_ref": user}
    (found,) = ask(organization, Question(rollup, ("credential_id", "model"), window, only))
    by_key: dict[int, dict[str, Sums]] = {}
    for sums in sorted(found):
        by_key.setdefault(int(sums.key[0]), {})[sums.key[1]] = sums
    return sorted((KeyCosts(*item) for item in by_key.items()), key=lambda one: (-one.spend, one.credential))


def customers_by_day(*, organization: Organization, window: Window, customer: str | None) -> dict[date, list[OfDay]]:
    """Days in order, and of each the dearest customer first. What was done for no customer is not in it."""
    only = {"end_user": customer} if customer is not None else {}
    by = ("day", "end_user", "model", "credential_id")
    (found,) = ask(organization, Question(CUSTOMER_DAYS, by, window, only))
    return _of_days(found)


def teams_by_day(*, organization: Organization, window: Window, team: str | None) -> dict[date, list[OfDay]]:
    """Days in order, and of each the dearest team first.

    Teams are the tags that begin with `team:`. What a day cost beside them is `UNASSIGNED`: nothing, if calls that bear
    two teams' tags make the teams add up to more than the day. Without any such tag in the window the organization is
    the only team, and its `shares` are known.
    """
    tags, days = ask(organization, Question(TAG_DAYS, ("day", "tag"), window), Question(MODEL_DAYS, ("day",), window))
    teams: dict[str, dict[str, Decimal]] = {}
    for sums in tags:
        day, tag = sums.key
        if tag.startswith(TEAM):
            teams.setdefault(day, {})[tag.removeprefix(TEAM)] = sums.cost
    if not teams:
        return _one_team(organization, window, team)
    for sums in days:
        of_day = teams.setdefault(sums.key[0], {})
        rest = sums.cost - sum(of_day.values(), ZERO)
        if rest > 0:
            of_day[UNASSIGNED] = of_day.get(UNASSIGNED, ZERO) + rest
    answer = {}
    for text, of_day in sorted(teams.items()):
        listed = [OfDay(name, spend, ()) for name, spend in of_day.items() if team in (None, name)]
        if listed:
            answer[date.fromisoformat(text)] = sorted(listed, key=_dearest)
    return answer


def _one_team(organization: Organization, window: Window, team: str | None) -> dict[date, list[OfDay]]:
    if team not in (None, organization.name, organization.slug):
        return {}
    (found,) = ask(organization, Question(USAGE_DAYS, ("day", "model", "credential_id"), window))
    return _of_days([sums._replace(key=(sums.key[0], organization.name, *sums.key[1:])) for sums in found])


def _of_days(found: Sequence[Sums]) -> dict[date, list[OfDay]]:
    """From sums by day, name, model and credential."""
    shares: dict[str, dict[str, list[Share]]] = {}
    for sums in sorted(found):
        day, name, model, credential = sums.key
        share = Share(model, int(credential), sums.cost, sums.total_tokens)
        shares.setdefault(day, {}).setdefault(name, []).append(share)
    return {
        date.fromisoformat(day): sorted(
            (OfDay(name, sum((share.spend for share in parts), ZERO), parts) for name, parts in of_day.items()),
            key=_dearest,
        )
        for day, of_day in shares.items()
    }


def by_spend(found: Sequence[Sums]) -> list[Named]:
    """Sums by one name; the dearest first."""
    named = (Named(sums.key[0], sums.cost, sums.requests) for sums in found)
    return sorted(named, key=lambda one: (-one.spend, one.name))


def _dearest(one: OfDay) -> tuple[Decimal, str]:
    return (-one.spend, one.name)
