"""What the browser needs to draw a chart (`static/costtrack/charts.js`), and the same numbers as a table for those who
do not see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString


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
    What has parts in common (a call with two tags) must not be stacked. `urls` are where labels lead; empty: where
    their lines do, if all lead to the same."""

    title: str
    labels: Sequence[str]
    lines: Sequence[Line]
    unit: str = "count"
    kind: str = "bar"
    is_stacked: bool = True
    urls: Sequence[str] = ()

    def data(self) -> dict[str, Any]:
        """For `json_script`."""
        lines = [
            {"name": line.name, "values": line.values, "texts": line.texts, "urls": line.urls} for line in self.lines
        ]
        parts = {"title": self.title, "labels": self.labels, "lines": lines}
        return {**parts, "unit": self.unit, "kind": self.kind, "is_stacked": self.is_stacked}

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """For the table: a label, and the text of each line."""
        return [(label, [line.texts[place] for line in self.lines]) for place, label in enumerate(self.labels)]

    @property
    def table_rows(self) -> SafeString:
        """The table's rows: written here, as a template takes ten times as long for some hundred numbers. Their labels
        are links, as keyboards do not reach a bar."""
        urls = self.urls or self._urls_in_common()
        heads = [_linked(label, urls[place] if urls else "") for place, label in enumerate(self.labels)]
        cells = [_cells(texts) for _, texts in self.rows]
        return format_html_join("", '<tr><th scope="row">{}</th>{}</tr>', zip(heads, cells, strict=True))

    def _urls_in_common(self) -> Sequence[str]:
        if self.lines and all(line.urls == self.lines[0].urls for line in self.lines):
            return self.lines[0].urls
        return ()


def _linked(label: str, url: str) -> str:
    return format_html('<a class="ct-link" href="{}">{}</a>', url, label) if url else label


def _cells(texts: Sequence[str]) -> SafeString:
    return format_html_join("", "<td>{}</td>", ((text,) for text in texts))
