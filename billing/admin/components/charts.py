"""The data of a chart for `static/costtrack/charts.js`, and the same numbers as an accessible table."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.admin.components.formatting import count
from costtrack.money import usd


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a chart. `values` are floats for drawing only, None: not drawn there; `texts` are shown to users.
    `urls` link each value to its details; empty: no links."""

    name: str
    values: Sequence[float | None]
    texts: Sequence[str]
    urls: Sequence[str] = ()

    @classmethod
    def of_costs(cls, name: str, amounts: Sequence[Decimal], urls: Sequence[str] = ()) -> "Line":
        return cls(name, [float(amount) for amount in amounts], [usd(amount) for amount in amounts], urls)

    @classmethod
    def of_counts(cls, name: str, numbers: Sequence[int], urls: Sequence[str] = ()) -> "Line":
        return cls(name, [float(number) for number in numbers], [count(number) for number in numbers], urls)


class Role(StrEnum):
    """What a series beside the bars is."""

    LIMIT = "limit"
    EXPECTED = "expected"
    PREVIOUS = "previous"
    ANOMALY = "anomaly"
    BAND = "band"


@dataclass(frozen=True, slots=True)
class Overlay:
    """A series beside the bars: a limit, what is expected, the previous period, marks of unusual spend, or an edge of a
    band, whose upper edge comes directly before the lower one. None: not drawn there."""

    name: str
    role: Role
    values: Sequence[float | None]
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Chart:
    """`kind` is `bar` or `line`. `labels` are those of the horizontal axis, one per value. `unit` is `usd`, `count`, or
    `percent` for shares. Overlapping series (a call with two tags) must not be stacked. `urls` link the labels, and the
    values of lines that have none of their own; if empty, the labels use the links of the lines, provided that all
    lines have the same. Lines may end before the labels do. `totals` are the texts of all lines together, if they add
    up."""

    title: str
    labels: Sequence[str]
    lines: Sequence[Line]
    unit: str = "count"
    kind: str = "bar"
    is_stacked: bool = True
    urls: Sequence[str] = ()
    overlays: Sequence[Overlay] = ()
    totals: Sequence[str] = ()

    def data(self) -> dict[str, Any]:
        """Return the chart for `json_script`."""
        lines = [
            {"name": line.name, "values": line.values, "texts": line.texts, "urls": line.urls} for line in self.lines
        ]
        overlays = [
            {"name": overlay.name, "role": overlay.role, "values": overlay.values, "texts": overlay.texts}
            for overlay in self.overlays
        ]
        content = {"title": self.title, "labels": self.labels, "lines": lines, "overlays": overlays}
        kind = {"unit": self.unit, "kind": self.kind, "is_stacked": self.is_stacked}
        return {**content, **kind, "totals": self.totals, "urls": self.urls}

    @property
    def columns(self) -> list[tuple[str, Sequence[str]]]:
        """The table's columns: the name and the texts of each series."""
        lines = [(line.name, line.texts) for line in self.lines]
        return [*lines, *((overlay.name, overlay.texts) for overlay in self.overlays)]

    @property
    def table_rows(self) -> SafeString:
        """Render the table's rows. The labels are links because bars cannot be reached by keyboard. A template takes
        twenty times as long for hundreds of numbers, and a format for each cell three times."""
        urls = self.urls or self._urls_in_common()
        heads = [_linked(label, urls[index] if index < len(urls) else "") for index, label in enumerate(self.labels)]
        columns = [[*texts, *[""] * (len(heads) - len(texts))] for _, texts in self.columns]
        row = f'<tr><th scope="row">{{}}</th>{"<td>{}</td>" * len(columns)}</tr>'
        return format_html_join("", row, zip(heads, *columns, strict=True))

    def _urls_in_common(self) -> Sequence[str]:
        if self.lines and all(line.urls == self.lines[0].urls for line in self.lines):
            return self.lines[0].urls
        return ()


def _linked(label: str, url: str) -> str:
    return format_html('<a class="ct-link" href="{}">{}</a>', url, label) if url else label
