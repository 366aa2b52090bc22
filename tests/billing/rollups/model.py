"""A model of the rollups in plain Python: all sent events, with their current amounts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.rollups.definitions import Rollup
from costtrack.money import ZERO

SUMS = ("requests", "unpriced", "input_tokens", "output_tokens", "token_cost_usd")

# The names of the sums in the scope rollups. (No event here has compute costs.)
_OTHER_NAMES = {"token_cost_usd": "cost_usd"}
_SCOPES = {
    "user": "user_id",
    "team": "team",
    "model": "model",
    "workflow": "workflow_id",
    "run": "run_id",
    "session": "session_id",
}


def columns_of(rollup: Rollup) -> dict[str, str]:
    """Which of the sums the rollup has, and the names of their columns."""
    available = {measure.column for measure in rollup.measures}
    named = {name: name if name in available else _OTHER_NAMES.get(name, "") for name in SUMS}
    return {name: column for name, column in named.items() if column in available}


def dimension_columns(rollup: Rollup) -> list[str]:
    """The columns that rows are grouped by. (A key stands for the attributes that it is made of.)"""
    columns = [dimension.column for dimension in rollup.dimensions]
    if "key" not in columns:
        return columns
    details = ["capability", "service", "model", "agent_id", "user_ref", "team", "end_user"]
    return [*(column for column in columns if column != "key"), *details]


@dataclass
class Counted:
    """A sent event, or the difference of a session summary."""

    organization: int
    body: dict[str, Any]
    occurred_at: datetime
    received_at: datetime
    amounts: dict[str, Decimal]
    is_event: bool = True
    is_voided: bool = False
    is_dropped: bool = False

    @property
    def is_unpriced(self) -> bool:
        """Whether it is in the unpriced queue; dropped events have left it."""
        return self.amounts["unpriced"] > 0 and not self.is_dropped

    def price(self, cost: Decimal) -> None:
        self.amounts["token_cost_usd"] += cost
        self.amounts["unpriced"] = ZERO

    def void(self) -> None:
        self.is_voided = True
        self.amounts = dict.fromkeys(SUMS, ZERO)

    def dimension_value(self, column: str) -> Any:
        """Return the value of a rollup's dimension."""
        hour = self.occurred_at.replace(minute=0, second=0, microsecond=0)
        special = {
            "hour": hour,
            "day": hour.date(),
            "credential_id": 0,
            "status": self.body.get("status", "success"),
            "cost_group": self.body.get("model", ""),
            "user_ref": self.body.get("user_id", ""),
        }
        return special[column] if column in special else self.body.get(column, "")

    def keys(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the keys of its rows: one for each tag or scope, if the rollup has them."""
        for tag_or_scope in self._tags_or_scopes(columns):
            yield (
                self.organization,
                *(
                    tag_or_scope[column] if column in tag_or_scope else self.dimension_value(column)
                    for column in columns
                ),
            )

    def _tags_or_scopes(self, columns: Sequence[str]) -> list[dict[str, str]]:
        tags = self.body.get("tags", ())
        if "tag" in columns:
            return [{"tag": tag} for tag in tags or ("",)]
        if "scope" not in columns:
            return [{}]
        scopes = [("organization", ""), *(("tag", tag) for tag in tags)]
        scopes += [(scope, value) for scope, name in _SCOPES.items() if (value := self.body.get(name, ""))]
        return [{"scope": scope, "value": value} for scope, value in scopes]


@dataclass
class SentEvents:
    """All sent events of all organizations."""

    counted: list[Counted] = field(default_factory=list)

    def events(self) -> list[Counted]:
        return [counted for counted in self.counted if counted.is_event]

    def of_session(self, organization: int, session_id: str) -> list[Counted]:
        return [
            counted
            for counted in self.counted
            if counted.organization == organization and counted.body.get("session_id") == session_id
        ]

    def cost_of_workflow(self, organization: int, workflow_id: str, *, include_children: bool) -> Decimal:
        """The cost of the runs whose last named workflow this is, alone or with all runs below them."""
        events = [counted for counted in self.counted if counted.organization == organization]
        of_runs = [counted for counted in events if counted.body.get("run_id")]
        named = {
            column: {counted.body["run_id"]: counted.body[column] for counted in of_runs if counted.body.get(column)}
            for column in ("workflow_id", "parent_run_id")
        }
        runs = {run_id for run_id, named_id in named["workflow_id"].items() if named_id == workflow_id}
        below = runs if include_children else set()
        while below:
            below = {run_id for run_id, parent in named["parent_run_id"].items() if parent in below} - runs
            runs |= below
        return sum((counted.amounts["token_cost_usd"] for counted in of_runs if counted.body["run_id"] in runs), ZERO)

    def rows(self, rollup: Rollup) -> dict[tuple[Any, ...], dict[str, Decimal]]:
        """The expected sums of the rollup, by organization and dimensions."""
        columns = dimension_columns(rollup)
        needed = re.findall(r"event\.(\w+) <> ''", rollup.condition)
        available = columns_of(rollup)
        rows: dict[tuple[Any, ...], dict[str, Decimal]] = {}
        for counted in self.counted:
            if not all(map(counted.dimension_value, needed)):
                continue
            for key in counted.keys(columns):
                sums = rows.setdefault(key, dict.fromkeys(available, ZERO))
                for name in available:
                    sums[name] += counted.amounts[name]
        return rows
