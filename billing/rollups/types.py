"""Value types of the maintenance of rollups."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Step:
    """A completed step: `number` of `steps` of an organization."""

    organization_id: int
    rollup: str
    number: int
    steps: int


Progress = Callable[[Step], None]
"""Called after each step, while nothing is locked, so it may fold."""


def ignore_progress(step: Step) -> None:
    """The default: does nothing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that differs from the ledger. `stored` and `expected` have the columns that differ, as text; None means
    that there is no such row."""

    rollup: str
    key: dict[str, str]
    stored: dict[str, str | None] | None
    expected: dict[str, str | None] | None

    def __str__(self) -> str:
        where = ", ".join(f"{column} {value!r}" for column, value in self.key.items())
        if self.stored is None:
            return f"{where}: the row is missing"
        if self.expected is None:
            return f"{where}: the row has no events"
        changes = (f"{column} is {self.stored[column]} instead of {self.expected[column]}" for column in self.stored)
        return f"{where}: {'; '.join(changes)}"


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check: the number of rows that differ from the ledger, and the first of them."""

    name: str
    count: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Events of a partition that were dropped, or would be. `bytes` is the disk space that is freed: 0 if events of
    other organizations stay in the partition."""

    month: datetime
    organizations: int
    events: int
    bytes: int
