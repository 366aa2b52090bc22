"""What the browser needs to draw a chart (`static/costtrack/charts.js`), and the same numbers as a table for those who
do not see it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """One color of a chart. `values` are for drawing only, so floats; `texts` are what people read. `urls` lead to what
    a value is made of; empty: nowhere."""

    name: str
    values: Sequence[float]
    texts: Sequence[str]
    urls: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """`kind` is `bar` or `line`, stacked. `labels` are of the horizontal axis, one for each value. `unit` is `usd`
    or `count`."""

    title: str
    labels: Sequence[str]
    lines: Sequence[Line]
    unit: str = "count"
    kind: str = "bar"

    def data(self) -> dict[str, Any]:
        """For `json_script`."""
        return asdict(self)

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """For the table: a label, and the text of each line."""
        return [(label, [line.texts[place] for line in self.lines]) for place, label in enumerate(self.labels)]
