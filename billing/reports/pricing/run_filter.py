"""Which runs (model calls and what belongs to them) a report is about, as conditions in SQL.

The same conditions hold over the ledger and over every rollup that has the columns: `service`, `model`, `agent_id` and
`user_ref` are named alike everywhere.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg import sql

from billing.models import LiveModelDay, LiveUserTotal
from billing.reports.types import Window
from organizations.models import Organization

Parameters = dict[str, Any]


class ModelKey(NamedTuple):
    """A model is known by its name and by who provides it."""

    service: str
    model: str


@dataclass(frozen=True, slots=True)
class RunFilter:
    """None: all of them. Empty: none of them, so there is nothing to report."""

    window: Window = field(default_factory=Window)
    models: tuple[ModelKey, ...] | None = None
    agents: tuple[str, ...] | None = None
    users: tuple[str, ...] | None = None

    @property
    def is_everything(self) -> bool:
        return self == RunFilter()

    def chosen(self, parameters: Parameters) -> sql.Composable:
        """Whether a row is of the models, agents and users; adds what it takes to the parameters. Not the window."""
        conditions: list[sql.Composable] = [sql.SQL("true")]
        if self.models is not None:
            services, models = [key.service for key in self.models], [key.model for key in self.models]
            conditions.append(
                sql.SQL("(service, model) IN (SELECT * FROM unnest({}::text[], {}::text[]))").format(
                    bound(parameters, services), bound(parameters, models)
                )
            )
        for column, values in (("agent_id", self.agents), ("user_ref", self.users)):
            if values is not None:
                conditions.append(
                    sql.SQL("{} = ANY ({}::text[])").format(sql.Identifier(column), bound(parameters, list(values)))
                )
        return sql.SQL(" AND ").join(conditions)


def bound(parameters: Parameters, value: object) -> sql.Placeholder:
    """The place of one more value."""
    name = f"value_{len(parameters)}"
    parameters[name] = value
    return sql.Placeholder(name)


def known_models(*, organization: Organization) -> list[ModelKey]:
    """Every model that the organization has called."""
    rows = LiveModelDay.objects.of(organization).exclude(model="")
    return [ModelKey(*row) for row in rows.order_by().values_list("service", "model").distinct()]


def known_agents(*, organization: Organization) -> list[str]:
    rows = LiveModelDay.objects.of(organization).exclude(agent_id="")
    return list(rows.order_by().values_list("agent_id", flat=True).distinct())


def known_users(*, organization: Organization) -> list[str]:
    rows = LiveUserTotal.objects.of(organization).exclude(user_ref="")
    return list(rows.order_by().values_list("user_ref", flat=True).distinct())
