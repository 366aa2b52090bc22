"""Daily spend by user, model and credential (document 004). Read-only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, timedelta
from decimal import Decimal

from billing.reports.buckets import DAY
from billing.reports.spend.log_types import LogRow
from billing.reports.spend.sums import SumQuery, Sums, run_queries
from billing.reports.types import Window
from billing.rollups.definitions import MODEL_DAYS, SPEND_DAYS, USAGE_DAYS, USER_DAYS
from costtrack.errors import DomainError
from costtrack.money import ZERO
from organizations.models import Organization

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
    user_rollup, model_rollup, credential_rollup = (
        (SPEND_DAYS, SPEND_DAYS, SPEND_DAYS) if only else (USER_DAYS, MODEL_DAYS, USAGE_DAYS)
    )
    users, models, keys = run_queries(
        organization,
        SumQuery(user_rollup, ("day", "user_ref"), window, only),
        SumQuery(model_rollup, ("day", "model"), window, only),
        SumQuery(credential_rollup, ("day", "credential_id"), window, only),
    )
    for day, user_ref, sums in _by_name(users):
        days[day].users[user_ref] = sums.cost
        days[day].spend += sums.cost
        days[day].unpriced += sums.unpriced
    for day, model, sums in _by_name(models):
        days[day].models[model] = sums.cost
    for day, credential, sums in _by_name(keys):
        days[day].credentials[int(credential)] = sums.cost
    return list(days.values()) if users else []


def spend_of_rows_by_day(rows: Sequence[LogRow], *, window: Window) -> list[DaySpend]:
    """Return the same from rows of the log, all in the window."""
    days = _empty_days(window)
    for row in rows:
        day = days[row.occurred_at.astimezone(UTC).date().isoformat()]
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
    first = window.start.astimezone(UTC).date()
    last = (window.end - timedelta(microseconds=1)).astimezone(UTC).date()
    number = (last - first).days + 1
    if number > MAX_DAYS:
        raise TooManyDaysError(f"end_date: the window has more than {MAX_DAYS} days.", param="end_date")
    days = (first + offset * DAY for offset in range(number))
    return {day.isoformat(): DaySpend(day) for day in days}


def _by_name(rows: Sequence[Sums]) -> Iterator[tuple[str, str, Sums]]:
    """Yield day, name and sums, ordered by name."""
    for sums in sorted(rows):
        day, name = sums.key
        yield day, name, sums
