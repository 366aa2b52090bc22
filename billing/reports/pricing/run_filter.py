"""Filters of runs (model calls and what belongs to them) as SQL conditions.

The ledger and all rollups use the same column names (`service`, `model`, `agent_id`, `user_ref`), so one condition
works for all.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from psycopg import sql

from billing.models.rollups import ModelDay, UserTotal
from billing.reports.sql import Parameters, bind, equal_to
from costtrack.calendar import Window
from organizations.models import Organization


class ModelKey(NamedTuple):
    """A model is identified by its service and name."""

    service: str
    model: str


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Filters of runs. None means no filter; an empty tuple matches nothing."""

    window: Window = field(default_factory=Window)
    models: tuple[ModelKey, ...] | None = None
    agents: tuple[str, ...] | None = None
    users: tuple[str, ...] | None = None

    @property
    def is_unfiltered(self) -> bool:
        return self == RunFilter()

    def condition(self, parameters: Parameters) -> sql.Composable:
        """Build the condition on models, agents and users, without the window. Adds its values to the parameters."""
        named = {"agent_id": self.agents, "user_ref": self.users}
        conditions = [equal_to({column: values for column, values in named.items() if values is not None})(parameters)]
        if self.models is not None:
            services, models = [key.service for key in self.models], [key.model for key in self.models]
            conditions.append(
                sql.SQL("(service, model) IN (SELECT * FROM unnest({}::text[], {}::text[]))").format(
                    bind(parameters, services), bind(parameters, models)
                )
            )
        return sql.SQL(" AND ").join(conditions)


def list_models(*, organization: Organization) -> list[ModelKey]:
    """Return every model that the organization has called."""
    rows = ModelDay.live().objects.of(organization).exclude(model="")
    return [ModelKey(*row) for row in rows.order_by().values_list("service", "model").distinct()]


def list_agents(*, organization: Organization) -> list[str]:
    rows = ModelDay.live().objects.of(organization).exclude(agent_id="")
    return list(rows.order_by().values_list("agent_id", flat=True).distinct())


def list_users(*, organization: Organization) -> list[str]:
    rows = UserTotal.live().objects.of(organization).exclude(user_ref="")
    return list(rows.order_by().values_list("user_ref", flat=True).distinct())
