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
    """`kind` is `bar` or `line`. `labels` are of the horizontal axis, one for each value. `unit` is `usd` or `count`.
    What has parts in common (a call with two tags) must not be stacked."""

    title: str
    labels: Sequence[str]
    lines: Sequence[Line]
    unit: str = "count"
    kind: str = "bar"
    is_stacked: bool = True

    def data(self) -> dict[str, Any]:
        """For `json_script`."""
        return asdict(self)

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """For the table: a label, and the text of each line."""
        return [(label, [line.texts[place] for line in self.lines]) for place, label in enumerate(self.labels)]

    @property
    def linked_rows(self) -> list[tuple[str, str, list[str]]]:
        """The same with where a label leads, if all lines lead to the same: keyboards do not reach a bar."""
        urls = self.lines[0].urls if self.lines and all(one.urls == self.lines[0].urls for one in self.lines) else ()
        return [(label, urls[place] if urls else "", texts) for place, (label, texts) in enumerate(self.rows)]
