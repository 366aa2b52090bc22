"""The cost per model: a chart by day, and a table."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from urllib.parse import quote, unquote

from django.http import HttpRequest

from billing.admin.components import formatting
from billing.admin.components.chart_axis import Axis, axis
from billing.admin.components.charts import Chart, Line
from billing.admin.components.percent_bar import percent_bar
from billing.admin.components.tables import Column, Table, TableFile
from billing.admin.components.urls import url_for_dates, url_with
from billing.reports.pricing.daily import Pricing
from billing.reports.pricing.run_filter import ModelKey
from costtrack.calendar import Calendar, Span, Unit
from costtrack.file_columns import Kind, attributes, computed
from costtrack.money import ZERO

_MAX_COLORS = 8  # and one for all others; charts.js has nine colors
_MAX_ROWS = 30
NO_MODEL = "No model"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """`url` filters the page by the model; empty for runs without one."""

    model: ModelKey
    name: str
    url: str
    runs: int
    cost: Decimal
    unpriced: int


def text_of(model: ModelKey) -> str:
    """Return a model as a URL parameter; slashes in the service are escaped."""
    return f"{quote(model.service, safe='')}/{model.model}"


def model_of(text: str) -> ModelKey:
    """Parse a model from a URL parameter."""
    service, slash, model = text.partition("/")
    return ModelKey(unquote(service), model) if slash else ModelKey("", text)


def name_of(models: Iterable[ModelKey]) -> dict[ModelKey, str]:
    """Return each model's name, with its provider if the name is ambiguous."""
    keys = set(models)
    names = [key.model for key in keys]
    return {key: f"{key.model} ({key.service or '-'})" if names.count(key.model) > 1 else key.model for key in keys}


def model_rows(report: Pricing, request: HttpRequest) -> list[ModelRow]:
    """Return the cost per model, most expensive first."""
    costs = _costs(report)
    names, runs, unpriced = _names(costs), Counter[ModelKey | None](), Counter[ModelKey | None]()
    for bucket in report.daily:
        runs[bucket.model] += bucket.runs
        unpriced[bucket.model] += bucket.unpriced
    urls = {model: url_with(request, model=text_of(model)) if model is not None else "" for model in costs}
    return [
        ModelRow(model or ModelKey("", ""), names[model], urls[model], runs[model], cost, unpriced[model])
        for model, cost in costs.items()
    ]


MODEL_COLUMNS = (
    *attributes(Kind.TEXT, "model.service", "model.model"),
    *attributes(Kind.COUNT, "runs"),
    *computed(Kind.AMOUNT, cost_usd=lambda row: row.cost),
    *computed(Kind.COUNT, unpriced_events=lambda row: row.unpriced),
)


def model_table(rows: Sequence[ModelRow], file: TableFile[ModelRow]) -> Table[ModelRow]:
    total, left_out = sum((row.cost for row in rows), ZERO), max(len(rows) - _MAX_ROWS, 0)
    columns = (
        Column[ModelRow]("Model", lambda row: formatting.link_or_text(row.url, row.name)),
        Column[ModelRow]("Requests", lambda row: formatting.count(row.runs), is_number=True),
        Column[ModelRow]("Cost", lambda row: formatting.cost(row.cost, row.unpriced), is_number=True),
        Column[ModelRow]("Share", lambda row: percent_bar(row.cost, total)),
    )
    left = "1 model with a lower cost is" if left_out == 1 else f"{left_out} models with lower costs are"
    note = f"{left} not shown." if left_out else ""
    return Table("Model breakdown", columns, rows[:_MAX_ROWS], note=note, file=file)


def chart_of(report: Pricing, span: Span, calendar: Calendar, request: HttpRequest) -> Chart | None:
    """Return a chart of the most expensive models, with all others combined. A bar links to the same page for that
    model and day."""
    if not report.daily:
        return None
    costs = _costs(report)
    names, x_axis = _names(costs), axis(calendar, span, {bucket.day for bucket in report.daily})
    chosen = list(costs)[:_MAX_COLORS]
    lines = [_line(names[model], _of(report, {model}), x_axis, request, model) for model in chosen]
    if others := set(costs) - set(chosen):
        lines.append(_line(f"{len(others)} other models", _of(report, others), x_axis, request, None))
    kind = "month" if x_axis.unit is Unit.MONTH else "day"
    return Chart(title=f"Cost per model and {kind}", labels=[bar.label for bar in x_axis.bars], lines=lines, unit="usd")


def _costs(report: Pricing) -> dict[ModelKey | None, Decimal]:
    """Return the cost per model, most expensive first."""
    costs: dict[ModelKey | None, Decimal] = {}
    for bucket in report.daily:
        costs[bucket.model] = costs.get(bucket.model, ZERO) + bucket.cost_usd
    return dict(sorted(costs.items(), key=lambda item: (-item[1], item[0] or ("", ""))))


def _names(costs: Iterable[ModelKey | None]) -> dict[ModelKey | None, str]:
    names = name_of(model for model in costs if model is not None)
    return {model: NO_MODEL if model is None else names[model] for model in costs}


def _of(report: Pricing, models: set[ModelKey | None]) -> list[tuple[date, Decimal]]:
    return [(bucket.day, bucket.cost_usd) for bucket in report.daily if bucket.model in models]


def _line(
    name: str, amounts: list[tuple[date, Decimal]], x_axis: Axis, request: HttpRequest, model: ModelKey | None
) -> Line:
    changes = {"model": text_of(model)} if model is not None else {}
    urls = [url_for_dates(request, bar.first, bar.last, **changes) for bar in x_axis.bars]
    return Line.of_costs(name, x_axis.sums(amounts), urls)
