"""Filters and results of usage reports (document 001)."""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from psycopg import sql

from billing.reports.sql import Parameters, bind, equal_to
from costtrack.calendar import Span
from costtrack.money import ZERO

NO_CREDENTIAL = "none"
"""In place of a Client ID: usage without a credential."""

# Without a credential of the organization; credentials of operators do not count.
_WITHOUT_CREDENTIAL = sql.SQL(
    "coalesce(credential_id, 0) NOT IN"
    " (SELECT id FROM organizations_apicredential WHERE organization_id = %(organization)s)"
)
_WITH_CREDENTIAL = sql.SQL(
    "credential_id = (SELECT id FROM organizations_apicredential"
    " WHERE organization_id = %(organization)s AND client_id = {})"
)


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Filters of usage; empty means any."""

    client_id: str = ""
    capability: str = ""
    model: str = ""
    status: str = ""

    def condition(self, parameters: Parameters) -> sql.Composable:
        """Build the condition over columns of usage rollups and the ledger."""
        named = {"capability": self.capability, "model": self.model, "status": self.status}
        condition = equal_to({column: value for column, value in named.items() if value})(parameters)
        if self.client_id == NO_CREDENTIAL:
            return sql.SQL("{} AND {}").format(condition, _WITHOUT_CREDENTIAL)
        if self.client_id:
            with_credential = _WITH_CREDENTIAL.format(bind(parameters, self.client_id))
            return sql.SQL("{} AND {}").format(condition, with_credential)
        return condition


class GroupBy(StrEnum):
    MODEL = "model"
    CAPABILITY = "capability"
    CREDENTIAL = "credential"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of usage. Requests include failed ones, prompt tokens include cached ones, and the cost excludes
    `unpriced_events`."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: Decimal = ZERO
    unpriced_events: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def error_rate(self) -> float:
        """From 0 to 1."""
        return round(self.errors / self.requests, 6) if self.requests > 0 else 0.0

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in _NAMES))


_NAMES = tuple(field.name for field in fields(Figures))
ZERO_FIGURES = Figures()


@dataclass(frozen=True, slots=True)
class Spend:
    """Current spend by the calendar of the organization. `rolling_7d_usd` starts right after the same time seven
    days ago."""

    today_usd: Decimal
    rolling_7d_usd: Decimal
    month_to_date_usd: Decimal
    billing_period: Span


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of a window, of its days, and (if the plan shows it) of the time before."""

    figures: Figures
    before: Figures | None
    days: tuple[Figures, ...]
    spend: Spend


@dataclass(frozen=True, slots=True)
class Series:
    """One chart series; all series have the same periods. `key` is None for the series of all others."""

    key: str | None
    name: str
    total: Figures
    periods: tuple[Figures, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """Usage of one key and its share of the cost (0 to 1)."""

    key: str
    figures: Figures
    share: float


@dataclass(frozen=True, slots=True)
class CredentialUsage:
    """Usage of a credential; without one, `client_id` is empty."""

    client_id: str
    name: str
    environment: str
    last_used_at: datetime | None
    figures: Figures
    share: float
