"""What looking after rollups tells. Pure values."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Step:
    """One of an organization's `steps` has been done, of this rollup."""

    organization_id: int
    rollup: str
    number: int
    steps: int


Progress = Callable[[Step], None]
"""Called after each step, while nothing is locked: so it may fold, too."""


def silent(step: Step) -> None:
    """For those who do not want to know."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not as the ledger says. `stored` and `told` (by the ledger) hold the columns that differ, as text;
    None: there is no such row."""

    rollup: str
    key: dict[str, str]
    stored: dict[str, str | None] | None
    told: dict[str, str | None] | None

    def __str__(self) -> str:
        where = ", ".join(f"{column} {value!r}" for column, value in self.key.items())
        if self.stored is None:
            return f"{where}: the row is missing"
        if self.told is None:
            return f"{where}: the row has no events"
        changes = (f"{column} is {self.stored[column]} instead of {self.told[column]}" for column in self.stored)
        return f"{where}: {'; '.join(changes)}"


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing that was compared with the ledger: how many of its rows differ, and the first of them."""

    name: str
    count: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Events of one table of the ledger that were dropped, or would be. `bytes` of disk come back at once: none where
    other organizations' events stay in the table."""

    month: datetime
    organizations: int
    events: int
    bytes: int
