"""Spend by tag, customer, credential, user, model, team and day (document 004). Read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from billing.reports.rollup_query import RollupQuery, Sums, read_sums
from billing.reports.spend.spend_logs import LogRow
from billing.rollups.definitions import (
    CUSTOMER_DAYS,
    MODEL_DAYS,
    SPEND_DAYS,
    TAG_DAYS,
    USAGE_DAYS,
    USER_DAYS,
    USER_TOTALS,
)
from costtrack.calendar import ALWAYS, Window, utc_day
from costtrack.clock import DAY, MICROSECOND
from costtrack.errors import DomainError
from costtrack.money import ZERO
from organizations.models import APICredential, Organization

TEAM_TAG_PREFIX = "team:"
"""Prefix of tags that name a team."""
UNASSIGNED = "Unassigned Team"


@dataclass(frozen=True, slots=True)
class NamedSpend:
    """Spend and model calls of one name."""

    name: str
    spend: Decimal
    calls: int


@dataclass(frozen=True, slots=True)
class Share:
    """Spend of one model with one credential (0 without one)."""

    model: str
    credential: int
    spend: Decimal
    total_tokens: int


@dataclass(frozen=True, slots=True)
class NamedDaySpend:
    """Spend of a team or customer on one day. `shares` is empty if it is unknown."""

    name: str
    spend: Decimal
    shares: Sequence[Share]


@dataclass(frozen=True, slots=True)
class KeyCosts:
    """Calls of one credential (0 without one) by model."""

    credential: int
    models: Mapping[str, Sums]

    @property
    def spend(self) -> Decimal:
        return sum((sums.cost for sums in self.models.values()), ZERO)


@dataclass(frozen=True, slots=True)
class DayActivity:
    """Model calls and tokens of a UTC day."""

    day: date
    spend: Decimal
    calls: int
    total_tokens: int


def spend_by_tag(*, organization: Organization, window: Window, tags: Sequence[str] = ()) -> list[NamedSpend]:
    """Return spend by tag, the most expensive first. A call with two tags counts in full under both. `tags` is a
    filter."""
    only = {"tag": tuple(tags)} if tags else {}
    (rows,) = read_sums(organization, RollupQuery.of(TAG_DAYS, ("tag",), window, only))
    return sort_by_spend([sums for sums in rows if sums.key != ("",)])


def spend_by_user(*, organization: Organization, window: Window = ALWAYS, user: str | None = None) -> list[NamedSpend]:
    """Return spend by user, the most expensive first. "" is spend without a user."""
    only = {"user_ref": user} if user is not None else {}
    rollup = USER_TOTALS if window == ALWAYS else USER_DAYS
    (rows,) = read_sums(organization, RollupQuery.of(rollup, ("user_ref",), window, only))
    return sort_by_spend(rows)


def spend_by_model(*, organization: Organization, window: Window) -> list[NamedSpend]:
    """Return spend by model, the most expensive first. "" is spend without a model."""
    (rows,) = read_sums(organization, RollupQuery.of(MODEL_DAYS, ("model",), window))
    return sort_by_spend(rows)


def spend_by_credential(*, organization: Organization, window: Window) -> list[tuple[APICredential, Decimal]]:
    """Return every credential with its spend, the most expensive first."""
    (rows,) = read_sums(organization, RollupQuery.of(USAGE_DAYS, ("credential_id",), window))
    spend = {int(sums.key[0]): sums.cost for sums in rows}
    credentials = APICredential.objects.of(organization).order_by("pk")
    costs = [(credential, spend.get(credential.pk, ZERO)) for credential in credentials]
    return sorted(costs, key=lambda item: item[1], reverse=True)


def activity(*, organization: Organization, window: Window, credentials: tuple[int, ...] | None) -> list[DayActivity]:
    """Return the days with events in order. `credentials` is a filter."""
    query = RollupQuery.of(MODEL_DAYS, ("day",), window)
    if credentials is not None:
        query = RollupQuery.of(USAGE_DAYS, ("day",), window, {"credential_id": credentials})
    (rows,) = read_sums(organization, query)
    return [
        DayActivity(date.fromisoformat(sums.key[0]), sums.cost, sums.requests, sums.total_tokens)
        for sums in sorted(rows)
    ]


def costs_by_key(
    *, organization: Organization, window: Window, credentials: tuple[int, ...] | None, user: str | None
) -> list[KeyCosts]:
    """Return spend by credential and model, the most expensive credential first. `credentials` and `user` are
    filters."""
    only: dict[str, object] = {} if credentials is None else {"credential_id": credentials}
    rollup = USAGE_DAYS
    if user is not None:
        rollup, only = SPEND_DAYS, {**only, "user_ref": user}
    (rows,) = read_sums(organization, RollupQuery.of(rollup, ("credential_id", "model"), window, only))
    by_key: dict[int, dict[str, Sums]] = {}
    for sums in sorted(rows):
        by_key.setdefault(int(sums.key[0]), {})[sums.key[1]] = sums
    return sorted((KeyCosts(*item) for item in by_key.items()), key=lambda key: (-key.spend, key.credential))


def customers_by_day(
    *, organization: Organization, window: Window, customer: str | None
) -> dict[date, list[NamedDaySpend]]:
    """Return spend by day and customer, the most expensive customer of each day first. Calls without a customer are
    left out."""
    only = {"end_user": customer} if customer is not None else {}
    by = ("day", "end_user", "model", "credential_id")
    (rows,) = read_sums(organization, RollupQuery.of(CUSTOMER_DAYS, by, window, only))
    return _day_spends(rows)


def teams_by_day(*, organization: Organization, window: Window, team: str | None) -> dict[date, list[NamedDaySpend]]:
    """Return spend by day and team, the most expensive team of each day first.

    Teams are the tags that begin with `team:`. The rest of a day is `UNASSIGNED`; there is none if calls with two
    team tags make the teams add up to more than the day. Without any team tag in the window the organization is the
    only team, and its `shares` are known.
    """
    tags, days = read_sums(
        organization, RollupQuery.of(TAG_DAYS, ("day", "tag"), window), RollupQuery.of(MODEL_DAYS, ("day",), window)
    )
    teams: dict[str, dict[str, Decimal]] = {}
    for sums in tags:
        day, tag = sums.key
        if tag.startswith(TEAM_TAG_PREFIX):
            teams.setdefault(day, {})[tag.removeprefix(TEAM_TAG_PREFIX)] = sums.cost
    if not teams:
        return _single_team(organization, window, team)
    for sums in days:
        day_spend = teams.setdefault(sums.key[0], {})
        rest = sums.cost - sum(day_spend.values(), ZERO)
        if rest > 0:
            day_spend[UNASSIGNED] = day_spend.get(UNASSIGNED, ZERO) + rest
    spend_by_day = {}
    for text, day_spend in sorted(teams.items()):
        listed = [NamedDaySpend(name, spend, ()) for name, spend in day_spend.items() if team in (None, name)]
        if listed:
            spend_by_day[date.fromisoformat(text)] = sorted(listed, key=_most_expensive_first)
    return spend_by_day


def _single_team(organization: Organization, window: Window, team: str | None) -> dict[date, list[NamedDaySpend]]:
    if team not in (None, organization.name, organization.slug):
        return {}
    (rows,) = read_sums(organization, RollupQuery.of(USAGE_DAYS, ("day", "model", "credential_id"), window))
    return _day_spends([sums._replace(key=(sums.key[0], organization.name, *sums.key[1:])) for sums in rows])


def _day_spends(rows: Sequence[Sums]) -> dict[date, list[NamedDaySpend]]:
    """Build the result from sums by day, name, model and credential."""
    shares: dict[str, dict[str, list[Share]]] = {}
    for sums in sorted(rows):
        day, name, model, credential = sums.key
        share = Share(model, int(credential), sums.cost, sums.total_tokens)
        shares.setdefault(day, {}).setdefault(name, []).append(share)
    return {
        date.fromisoformat(day): sorted(
            (
                NamedDaySpend(name, sum((share.spend for share in day_shares), ZERO), day_shares)
                for name, day_shares in day_spend.items()
            ),
            key=_most_expensive_first,
        )
        for day, day_spend in shares.items()
    }


def sort_by_spend(rows: Sequence[Sums]) -> list[NamedSpend]:
    """Build the list from sums by one name, the most expensive first."""
    named = (NamedSpend(sums.key[0], sums.cost, sums.requests) for sums in rows)
    return sorted(named, key=lambda item: (-item.spend, item.name))


def _most_expensive_first(item: NamedDaySpend) -> tuple[Decimal, str]:
    return (-item.spend, item.name)


MAX_DAYS = 3_660


@dataclass(slots=True)
class DaySpend:
    """Spend of a UTC day. Each breakdown adds up to `spend`; spend without a user, model or credential has the key
    "" or 0. Amounts exclude `unpriced` events."""

    day: date
    spend: Decimal = ZERO
    users: dict[str, Decimal] = field(default_factory=dict)
    models: dict[str, Decimal] = field(default_factory=dict)
    credentials: dict[int, Decimal] = field(default_factory=dict)
    unpriced: int = 0


class TooManyDaysError(DomainError):
    """The window has too many days for one response."""


def spend_by_day(
    *, organization: Organization, window: Window, credentials: tuple[int, ...] | None, user: str | None
) -> list[DaySpend]:
    """Return every day of a bounded window in order, or an empty list if it has no events. `credentials` and `user`
    are filters. Raises TooManyDaysError."""
    days = _empty_days(window)
    only: dict[str, object] = {}
    if credentials is not None:
        only["credential_id"] = credentials
    if user is not None:
        only["user_ref"] = user
    users, shares = read_sums(
        organization,
        RollupQuery.of(SPEND_DAYS if only else USER_DAYS, ("day", "user_ref"), window, only),
        RollupQuery.of(SPEND_DAYS if only else USAGE_DAYS, ("day", "model", "credential_id"), window, only),
    )
    for sums in sorted(users):
        day, user_ref = sums.key
        days[day].users[user_ref] = sums.cost
        days[day].spend += sums.cost
        days[day].unpriced += sums.unpriced
    for sums in sorted(shares):
        day, model, credential_id = sums.key
        models, credentials_of_day = days[day].models, days[day].credentials
        models[model] = models.get(model, ZERO) + sums.cost
        credentials_of_day[int(credential_id)] = credentials_of_day.get(int(credential_id), ZERO) + sums.cost
    return list(days.values()) if users else []


def spend_of_rows_by_day(rows: Sequence[LogRow], *, window: Window) -> list[DaySpend]:
    """Return the same from rows of the log, all in the window."""
    days = _empty_days(window)
    for row in rows:
        day = days[utc_day(row.occurred_at).isoformat()]
        day.spend += row.cost_usd
        day.unpriced += not row.is_priced
        day.users[row.user_ref] = day.users.get(row.user_ref, ZERO) + row.cost_usd
        day.models[row.model] = day.models.get(row.model, ZERO) + row.cost_usd
        credential = row.credential_id or 0
        day.credentials[credential] = day.credentials.get(credential, ZERO) + row.cost_usd
    return list(days.values()) if rows else []


def _empty_days(window: Window) -> dict[str, DaySpend]:
    """Return the UTC days that the window touches."""
    if window.start is None or window.end is None:
        raise ValueError("The window is open.")
    first, last = utc_day(window.start), utc_day(window.end - MICROSECOND)
    number = (last - first).days + 1
    if number > MAX_DAYS:
        raise TooManyDaysError(f"end_date: the window has more than {MAX_DAYS} days.", param="end_date")
    days = (first + offset * DAY for offset in range(number))
    return {day.isoformat(): DaySpend(day) for day in days}
