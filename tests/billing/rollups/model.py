"""What the rollups must say, in plain Python: a list of everything that was sent, and what each of it counts now."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.rollups.definitions import Rollup
from costtrack.money import ZERO

SUMS = ("requests", "unpriced", "input_tokens", "output_tokens", "token_cost_usd")

# What a rollup of fewer columns calls them. (Nothing here has compute costs.)
_OTHER_NAMES = {"token_cost_usd": "cost_usd"}
_SCOPES = {"user": "user_id", "model": "model", "workflow": "workflow_id", "run": "run_id", "session": "session_id"}


def columns_of(rollup: Rollup) -> dict[str, str]:
    """Which of the sums the rollup has, and the names of their columns."""
    held = {measure.column for measure in rollup.measures}
    named = {name: name if name in held else _OTHER_NAMES.get(name, "") for name in SUMS}
    return {name: column for name, column in named.items() if column in held}


@dataclass
class Counted:
    """One thing that was sent: an event, or what a session's summary has added."""

    organization: int
    body: dict[str, Any]
    occurred_at: datetime
    received_at: datetime
    amounts: dict[str, Decimal]
    is_event: bool = True
    is_voided: bool = False
    is_dropped: bool = False

    @property
    def is_waiting(self) -> bool:
        """For a price: what was dropped waits no more, and stays without one."""
        return self.amounts["unpriced"] > 0 and not self.is_dropped

    def price(self, cost: Decimal) -> None:
        self.amounts["token_cost_usd"] += cost
        self.amounts["unpriced"] = ZERO

    def void(self) -> None:
        self.is_voided = True
        self.amounts = dict.fromkeys(SUMS, ZERO)

    def fact(self, column: str) -> Any:
        """What a rollup's dimension says of it."""
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
        """Of the rows that it is in: one for each tag or scope, if the rollup is about them."""
        for part in self._parts(columns):
            yield (self.organization, *(part[column] if column in part else self.fact(column) for column in columns))

    def _parts(self, columns: Sequence[str]) -> list[dict[str, str]]:
        tags = self.body.get("tags", ())
        if "tag" in columns:
            return [{"tag": tag} for tag in tags]
        if "scope" not in columns:
            return [{}]
        told = [("organization", ""), *(("tag", tag) for tag in tags)]
        told += [(scope, value) for scope, name in _SCOPES.items() if (value := self.body.get(name, ""))]
        return [{"scope": scope, "value": value} for scope, value in told]


@dataclass
class Books:
    """Everything that was sent, by anybody."""

    counted: list[Counted] = field(default_factory=list)

    def events(self) -> list[Counted]:
        return [one for one in self.counted if one.is_event]

    def of_session(self, organization: int, session_id: str) -> list[Counted]:
        return [
            one for one in self.counted if one.organization == organization and one.body.get("session_id") == session_id
        ]

    def rows(self, rollup: Rollup) -> dict[tuple[Any, ...], dict[str, Decimal]]:
        """The sums that the rollup must have, by organization and the rollup's dimensions."""
        columns = [dimension.column for dimension in rollup.dimensions]
        needed = re.findall(r"event\.(\w+) <> ''", rollup.condition)
        held = columns_of(rollup)
        found: dict[tuple[Any, ...], dict[str, Decimal]] = {}
        for one in self.counted:
            if not all(map(one.fact, needed)):
                continue
            for key in one.keys(columns):
                sums = found.setdefault(key, dict.fromkeys(held, ZERO))
                for name in held:
                    sums[name] += one.amounts[name]
        return found
