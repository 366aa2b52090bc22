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
        """Of the rows that it is in: one for each tag, if the rollup is about tags."""
        for tag in self.body.get("tags", ()) if "tag" in columns else ("",):
            yield (self.organization, *(tag if column == "tag" else self.fact(column) for column in columns))


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
        found: dict[tuple[Any, ...], dict[str, Decimal]] = {}
        for one in self.counted:
            if not all(map(one.fact, needed)):
                continue
            for key in one.keys(columns):
                sums = found.setdefault(key, dict.fromkeys(SUMS, ZERO))
                for name in SUMS:
                    sums[name] += one.amounts[name]
        return found
