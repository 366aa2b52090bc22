"""Filters and results of usage reports (document 001)."""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from operator import add, attrgetter, sub
from typing import Self

from psycopg import sql

from billing.reports.sql import Parameters, bind, equal_to
from billing.types import NO_CREDENTIAL
from costtrack.calendar import Span
from costtrack.money import ZERO

# Without a credential of the organization; credentials of operators do not count.
_WITHOUT_CREDENTIAL = sql.SQL(
    "coalesce(credential_id, 0) NOT IN"
    " (SELECT id FROM organizations_apicredential WHERE organization_id = %(organization)s)"
)
_WITH_CREDENTIAL = sql.SQL(
    "credential_id = (SELECT id FROM organizations_apicredential"
    " WHERE organization_id = %(organization)s AND client_id = {})"
)
# The workflow of an event is that of its run, which a later event may name.
_OF_WORKFLOW = sql.SQL(
    "CASE WHEN run_id = '' THEN workflow_id = {workflow} ELSE run_id IN (SELECT run_id FROM billing_run"
    " WHERE organization_id = %(organization)s AND workflow_id = {workflow} AND workflow_id <> '') END"
)
_WITH_TAG = sql.SQL("tags @> ARRAY[{}]::varchar[]")


class GroupBy(StrEnum):
    MODEL = "model"
    CAPABILITY = "capability"
    CREDENTIAL = "credential"
    STATUS = "status"
    USER = "user"
    TEAM = "team"
    END_USER = "end_user"
    PROVIDER = "provider"
    SERVICE = "service"
    AGENT = "agent"
    ENVIRONMENT = "environment"
    WORKFLOW = "workflow"
    SESSION = "session"
    RUN = "run"
    TOOL = "tool"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class Dimension:
    """What usage can be filtered and grouped by. `parameter` is the filter's name in the API and on pages, `column` the
    name in the ledger and, unless `is_only_in_ledger`, the rollups."""

    by: GroupBy
    parameter: str
    column: str
    label: str
    is_only_in_ledger: bool = False

    @property
    def without(self) -> str:
        """The name of usage without a value."""
        return f"No {self.label.lower()}"


DIMENSIONS = (
    Dimension(GroupBy.MODEL, "model", "model", "Model"),
    Dimension(GroupBy.CAPABILITY, "capability", "capability", "Capability"),
    Dimension(GroupBy.CREDENTIAL, "client_id", "credential_id", "Credential"),
    Dimension(GroupBy.STATUS, "status", "status", "Status"),
    Dimension(GroupBy.USER, "user_id", "user_ref", "User"),
    Dimension(GroupBy.TEAM, "team", "team", "Team"),
    Dimension(GroupBy.END_USER, "end_user", "end_user", "End user"),
    Dimension(GroupBy.PROVIDER, "provider", "provider", "Provider"),
    Dimension(GroupBy.SERVICE, "service", "service", "Service"),
    Dimension(GroupBy.AGENT, "agent_id", "agent_id", "Agent"),
    Dimension(GroupBy.ENVIRONMENT, "environment", "environment", "Environment"),
    Dimension(GroupBy.WORKFLOW, "workflow_id", "workflow_id", "Workflow", is_only_in_ledger=True),
    Dimension(GroupBy.SESSION, "session_id", "session_id", "Session", is_only_in_ledger=True),
    Dimension(GroupBy.RUN, "run_id", "run_id", "Run", is_only_in_ledger=True),
    Dimension(GroupBy.TOOL, "tool", "tool", "Tool", is_only_in_ledger=True),
    Dimension(GroupBy.TAG, "tag", "tags", "Tag", is_only_in_ledger=True),
)
"""All dimensions of usage reports, exports and pages, in the order of the pages. Each is a field of `UsageFilter`. An
event counts under each of its tags; groups of any other dimension add up."""
DIMENSION_OF = {dimension.by: dimension for dimension in DIMENSIONS}
ONLY_IN_LEDGER = frozenset(dimension.column for dimension in DIMENSIONS if dimension.is_only_in_ledger)
"""The columns that only the ledger has."""


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Filters of usage; empty means any. The fields are the parameters of `DIMENSIONS`."""

    client_id: str = ""
    capability: str = ""
    model: str = ""
    status: str = ""
    user_id: str = ""
    team: str = ""
    end_user: str = ""
    provider: str = ""
    service: str = ""
    agent_id: str = ""
    environment: str = ""
    workflow_id: str = ""
    session_id: str = ""
    run_id: str = ""
    tool: str = ""
    tag: str = ""

    @property
    def columns(self) -> dict[str, str]:
        """The given values by column. That of a credential is its Client ID."""
        given = {dimension.column: getattr(self, dimension.parameter) for dimension in DIMENSIONS}
        return {column: value for column, value in given.items() if value}

    @property
    def without_ledger_only(self) -> Self:
        """The filter without those that only the ledger has."""
        return replace(self, **{dimension.parameter: "" for dimension in DIMENSIONS if dimension.is_only_in_ledger})

    def condition(self, parameters: Parameters) -> sql.Composable:
        """Build the condition over columns of rollups and the ledger."""
        special = ("credential_id", "workflow_id", "tags")
        named = {column: value for column, value in self.columns.items() if column not in special}
        conditions: list[sql.Composable] = [equal_to(named)(parameters)]
        if self.client_id == NO_CREDENTIAL:
            conditions.append(_WITHOUT_CREDENTIAL)
        elif self.client_id:
            conditions.append(_WITH_CREDENTIAL.format(bind(parameters, self.client_id)))
        if self.workflow_id:
            conditions.append(_OF_WORKFLOW.format(workflow=bind(parameters, self.workflow_id)))
        if self.tag:
            conditions.append(_WITH_TAG.format(bind(parameters, self.tag)))
        return sql.SQL(" AND ").join(conditions)


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of usage. Requests include failed ones, prompt tokens include cached ones and cache writes, and the cost
    excludes `unpriced_events`."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: Decimal = ZERO
    unpriced_events: int = 0
    cache_creation_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def error_rate(self) -> float:
        """From 0 to 1."""
        return round(self.errors / self.requests, 6) if self.requests > 0 else 0.0

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(add, _values(self), _values(other)))

    def __sub__(self, other: Self) -> Self:
        return type(self)(*map(sub, _values(self), _values(other)))


# Reports add up thousands of figures, so their values are read at a time.
_values = attrgetter(*(field.name for field in fields(Figures)))
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
