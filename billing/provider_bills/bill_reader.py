"""Reads bills of providers: reports of OpenAI and Anthropic (pages of their APIs, or CSV), OpenRouter's activity, and
CSV with any columns. Pure."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

from billing.types import BillFormat, BillReport
from costtrack.event_files.provider_usage import is_anthropic_usage, is_openai_usage
from costtrack.event_files.table_file import csv_columns, csv_rows
from costtrack.event_files.types import FileError, Row, RowError
from costtrack.event_files.values import count, instant, number, text
from costtrack.money import MAX_AMOUNT_USD, to_storable

MAX_ROWS = 200_000
MAX_NAME_LENGTH = 255
INPUT, CACHE_READ, CACHE_CREATION, OUTPUT = "input", "cache_read", "cache_creation", "output"
KINDS = (INPUT, CACHE_READ, CACHE_CREATION, OUTPUT)
"""The kinds of tokens that are compared. Cache writes of all lifetimes are one kind."""
FIELDS = (
    *("date", "key", "model", "kind", "quantity", "amount_usd"),
    *("input_tokens", "cache_read_tokens", "cache_creation_tokens", "output_tokens"),
)
"""What a column of a CSV file can be."""

_MAX_QUANTITY = Decimal(10) ** 20
_HEAD = 1 << 16
_COLUMNS = {f"{kind}_tokens": kind for kind in KINDS}
_KIND_NAMES = {
    **dict.fromkeys(("input", "uncached_input_tokens", "input_no_cache", "input_tokens", "prompt_tokens"), INPUT),
    **dict.fromkeys(
        ("cached input", "cache_read", "cache_read_input_tokens", "input_cache_read", "cache read"), CACHE_READ
    ),
    **dict.fromkeys(
        (
            *("cache_creation", "cache write", "cache_creation.ephemeral_5m_input_tokens"),
            *("cache_creation.ephemeral_1h_input_tokens", "input_cache_write_5m", "input_cache_write_1h"),
        ),
        CACHE_CREATION,
    ),
    **dict.fromkeys(("output", "output_tokens", "completion_tokens"), OUTPUT),
}
_USAGE_FORMATS = (BillFormat.OPENAI_USAGE, BillFormat.ANTHROPIC_USAGE)
_UNITS = {"tokens": Decimal(1), "1000_tokens": Decimal(1000)}


@dataclass(frozen=True, slots=True)
class BillLine:
    """A row of a report. The kind is empty for what is not counted in tokens."""

    report: BillReport
    day: date
    key: str
    model: str
    kind: str
    quantity: Decimal | None = None
    amount_usd: Decimal | None = None


@dataclass(slots=True)
class ParsedBill:
    """The lines of a file, and the days that its reports cover: those of all buckets, also empty ones."""

    provider: str
    format: BillFormat
    lines: list[BillLine] = field(default_factory=list)
    days: set[tuple[BillReport, date]] = field(default_factory=set)

    def add(self, line: BillLine) -> None:
        self.lines.append(line)
        self.days.add((line.report, line.day))


def read_bill(
    content: bytes,
    *,
    provider: str = "",
    columns: Mapping[str, str] | None = None,
    format: BillFormat | None = None,  # noqa: A002 - the field's name
) -> ParsedBill:
    """Read a file. `provider` is that of a CSV file with `columns`, which maps its columns to `FIELDS`. `format` is
    that of JSON, if it is known: reports without usage do not show it. Raises FileError."""
    file = BytesIO(content)
    is_json = content[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    rows: Iterable[Row]
    bill: ParsedBill
    if is_json:
        rows, bill = _json(file, format)
    else:
        names = csv_columns(file)
        rows, bill = csv_rows(file), ParsedBill(provider, _csv_format(names, columns))
    if bill.format is BillFormat.CSV:
        convert = _generic(csv_columns(file), columns or {})
        if not provider:
            raise FileError("names no provider: give its name")
    else:
        convert = _CONVERTERS[bill.format]
        bill.provider = bill.format.value.partition("_")[0]
        if provider not in ("", bill.provider):
            raise FileError(f"is a report of {bill.provider}, not of {provider}")
    for row in rows:
        try:
            for line in convert(row.values):
                bill.add(_checked(line))
        except RowError as error:
            raise FileError(f"cannot be read at {row.location}: {error}") from error
        if len(bill.lines) > MAX_ROWS:
            raise FileError(f"has more than {MAX_ROWS:,} rows: import shorter periods")
    if not bill.days:
        raise FileError("has no days")
    return bill


def _json(file: BytesIO, known: BillFormat | None) -> tuple[Iterable[Row], ParsedBill]:
    pages = _pages(file.getvalue())
    if not all(isinstance(page, dict) for page in pages):
        raise FileError("is not a report: it has no pages")
    if (activity := _activity(pages)) is not None:
        return activity, ParsedBill("openrouter", BillFormat.OPENROUTER_ACTIVITY)
    buckets = list(_buckets(pages))
    rows = [row for _, results in buckets for row in results]
    names = {name for row in rows for name in row.values} | {name for times, _ in buckets for name in times}
    bill_format = known or _bucket_format(names)
    bill = ParsedBill(bill_format.value.partition("_")[0], bill_format)
    report = BillReport.USAGE if bill_format in _USAGE_FORMATS else BillReport.COSTS
    try:
        bill.days.update((report, _day(times)) for times, _ in buckets)
    except RowError as error:
        raise FileError(f"cannot be read: {error}") from error
    return rows, bill


def _bucket_format(names: set[str]) -> BillFormat:
    """Return the format of buckets with these fields."""
    is_costs = bool(names & {"amount", "line_item", "cost_type"})
    if "starting_at" in names:
        return BillFormat.ANTHROPIC_COSTS if is_costs else BillFormat.ANTHROPIC_USAGE
    return BillFormat.OPENAI_COSTS if is_costs else BillFormat.OPENAI_USAGE


def _pages(content: bytes) -> list[Any]:
    """Return the pages of a file: one page, a list of them, or one on each line."""
    try:
        page = json.loads(content, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        try:
            return [json.loads(line, parse_float=Decimal) for line in content.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise FileError(f"is not valid JSON: {error}") from error
    return page if isinstance(page, list) else [page]


def _buckets(pages: list[Any]) -> Iterator[tuple[Mapping[str, Any], list[Row]]]:
    """Yield the times of each bucket and its results. A bucket without `results` is its own result."""
    for number_of_page, page in enumerate(pages, 1):
        buckets = page.get("data") if isinstance(page, dict) else None
        if not isinstance(buckets, list):
            raise FileError(f"is not a report: page {number_of_page} has no list named data")
        for index, bucket in enumerate(buckets):
            if not isinstance(bucket, dict):
                raise FileError(f"is not a report: data[{index}] of page {number_of_page} is not an object")
            times = {name: value for name, value in bucket.items() if name not in ("results", "object")}
            results = bucket.get("results", [{}])
            if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
                raise FileError(f"is not a report: data[{index}].results of page {number_of_page} is not a list")
            location = f"page {number_of_page}, data[{index}]"
            yield times, [_flat(Row(location, {**times, **result})) for result in results]


def _flat(row: Row) -> Row:
    """Return the row with the fields of `group` and `cost` beside the others."""
    values = dict(row.values)
    for name in ("group", "cost"):
        nested = values.pop(name, None)
        if isinstance(nested, Mapping):
            values.update(nested)
        elif nested is not None:
            values[name] = nested
    return Row(row.location, values)


def _activity(pages: list[Any]) -> list[Row] | None:
    """Return the rows of OpenRouter's activity; None if this is something else."""
    rows = [row for page in pages for row in (page.get("data") or [] if "data" in page else [page])]
    if not rows or not all(isinstance(row, dict) and {"date", "usage"} <= set(row) for row in rows):
        return None
    return [Row(f"data[{index}]", row) for index, row in enumerate(rows)]


def _csv_format(names: list[str], columns: Mapping[str, str] | None) -> BillFormat:
    known = set(names)
    formats = {
        BillFormat.OPENAI_COSTS: {"amount_value", "line_item"} <= known,
        BillFormat.ANTHROPIC_COSTS: "usage_date_utc" in known and bool(known & {"cost_usd", "amount"}),
        BillFormat.OPENAI_USAGE: is_openai_usage(names),
        BillFormat.ANTHROPIC_USAGE: is_anthropic_usage(names),
        BillFormat.OPENROUTER_ACTIVITY: {"date", "usage", "prompt_tokens"} <= known,
    }
    return next((name for name, matches in formats.items() if matches and not columns), BillFormat.CSV)


def _openai_costs(values: Mapping[str, Any]) -> Iterable[BillLine]:
    amount = values.get("amount")
    nested = amount if isinstance(amount, Mapping) else {}
    _check_currency(nested.get("currency") or values.get("amount_currency"))
    model, kind = _line_item(text(values.get("line_item")) or "")
    quantity, unit = number(values.get("quantity"), "quantity"), text(values.get("quantity_unit")) or ""
    yield BillLine(
        BillReport.COSTS,
        _day(values),
        _key(values, "api_key_id", "project_id"),
        model,
        kind,
        quantity * _UNITS[unit] if kind and quantity is not None and unit in _UNITS else None,
        number(nested.get("value", values.get("amount_value")), "amount"),
    )


def _openai_usage(values: Mapping[str, Any]) -> Iterable[BillLine]:
    read, written = _count(values, "input_cached_tokens"), _count(values, "input_cache_write_tokens")
    uncached = count(values.get("input_uncached_tokens"), "input_uncached_tokens")
    total = _count(values, "input_tokens")
    quantities = {
        INPUT: total - read - written if uncached is None else uncached,
        CACHE_READ: read,
        CACHE_CREATION: written,
        OUTPUT: _count(values, "output_tokens"),
    }
    return _usage_lines(values, _key(values, "api_key_id", "project_id"), _model(values, "model"), quantities)


def _anthropic_costs(values: Mapping[str, Any]) -> Iterable[BillLine]:
    _check_currency(values.get("currency"))
    cents, dollars = number(values.get("amount"), "amount"), number(values.get("cost_usd"), "cost_usd")
    name = (text(values.get("token_type")) or "").lower()
    yield BillLine(
        BillReport.COSTS,
        _day(values),
        _key(values, "api_key_id", "api_key", "workspace_id", "workspace"),
        _model(values, "model"),
        _KIND_NAMES.get(name, ""),
        None,
        dollars if cents is None else cents.scaleb(-2),
    )


def _anthropic_usage(values: Mapping[str, Any]) -> Iterable[BillLine]:
    written = values.get("cache_creation")
    lifetimes = written if isinstance(written, Mapping) else {}
    quantities = {
        INPUT: _count(values, "uncached_input_tokens", "usage_input_tokens_no_cache"),
        CACHE_READ: _count(values, "cache_read_input_tokens", "usage_input_tokens_cache_read"),
        CACHE_CREATION: sum(
            _count({**values, **lifetimes}, f"ephemeral_{lifetime}_input_tokens", column)
            for lifetime, column in (
                ("5m", "usage_input_tokens_cache_write_5m"),
                ("1h", "usage_input_tokens_cache_write_1h"),
            )
        ),
        OUTPUT: _count(values, "output_tokens", "usage_output_tokens"),
    }
    key = _key(values, "api_key_id", "api_key", "workspace_id", "workspace")
    return _usage_lines(values, key, _model(values, "model", "model_version"), quantities)


def _openrouter(values: Mapping[str, Any]) -> Iterable[BillLine]:
    day, model = _day(values), _model(values, "model", "model_permaslug")
    key = _key(values, "api_key_hash", "api_key_id", "api_key")
    yield BillLine(BillReport.COSTS, day, key, model, "", None, number(values.get("usage"), "usage"))
    quantities = {INPUT: _count(values, "prompt_tokens"), OUTPUT: _count(values, "completion_tokens")}
    yield from _usage_lines(values, key, model, quantities)


def _generic(names: Iterable[str], columns: Mapping[str, str]) -> Callable[[Mapping[str, Any]], Iterable[BillLine]]:
    """Return what converts a row of a CSV file. Columns that are not mapped have the name of their field."""
    known = set(names)
    for name, target in columns.items():
        if name not in known:
            raise FileError(f"has no column {name!r}")
        if target not in FIELDS:
            raise FileError(f"cannot have a column for {target!r}: use {', '.join(FIELDS)}")
    fields = {target: name for name, target in columns.items()}
    fields = {target: fields.get(target, target) for target in FIELDS if fields.get(target, target) in known}
    if "date" not in fields:
        raise FileError("has no column with the day: map it to date")
    if not {"quantity", "amount_usd", *_COLUMNS} & set(fields):
        raise FileError("has no column with amounts or tokens: map it to amount_usd or input_tokens")

    def convert(values: Mapping[str, Any]) -> Iterable[BillLine]:
        cells = {target: values.get(name) for target, name in fields.items()}
        day, key, model = _day(cells), _key(cells, "key"), _model(cells, "model")
        kind = _KIND_NAMES.get((text(cells.get("kind")) or "").lower(), "")
        amount = number(cells.get("amount_usd"), "amount_usd")
        if amount is not None:
            yield BillLine(BillReport.COSTS, day, key, model, kind, None, amount)
        quantities = {kind: _count(cells, name) for name, kind in _COLUMNS.items() if name in cells}
        quantity = count(cells.get("quantity"), "quantity")
        if kind and quantity is not None:
            quantities[kind] = quantity
        yield from _usage_lines(cells, key, model, quantities)

    return convert


_CONVERTERS: Mapping[BillFormat, Callable[[Mapping[str, Any]], Iterable[BillLine]]] = {
    BillFormat.OPENAI_COSTS: _openai_costs,
    BillFormat.OPENAI_USAGE: _openai_usage,
    BillFormat.ANTHROPIC_COSTS: _anthropic_costs,
    BillFormat.ANTHROPIC_USAGE: _anthropic_usage,
    BillFormat.OPENROUTER_ACTIVITY: _openrouter,
}


def _usage_lines(values: Mapping[str, Any], key: str, model: str, quantities: Mapping[str, int]) -> Iterable[BillLine]:
    day = _day(values)
    for kind, quantity in quantities.items():
        yield BillLine(BillReport.USAGE, day, key, model, kind, Decimal(quantity))


def _line_item(item: str) -> tuple[str, str]:
    """Return the model and the kind of `gpt-5-2025-08-07, cached input`."""
    model, comma, kind = item.rpartition(", ")
    known = _KIND_NAMES.get(kind.lower(), "") if comma else ""
    return (model, known) if comma else (item, "")


def _day(values: Mapping[str, Any]) -> date:
    """Return the day (UTC) on which the row begins."""
    names = ("usage_date_utc", "starting_at", "start_time", "start_time_iso", "date")
    for name in names:
        start = instant(values.get(name), name)
        if start is not None:
            return datetime.fromisoformat(start).date()
    raise RowError("The row has no day.", "date")


def _key(values: Mapping[str, Any], *names: str) -> str:
    return next((key for name in names if (key := text(values.get(name)))), "")


_model = _key


def _count(values: Mapping[str, Any], *names: str) -> int:
    return next((value for name in names if (value := count(values.get(name), name)) is not None), 0)


def _check_currency(value: Any) -> None:
    currency = (text(value) or "usd").lower()
    if currency != "usd":
        raise RowError(f"The amount is in {currency.upper()[:10]}; only US dollars can be compared.", "currency")


def _checked(line: BillLine) -> BillLine:
    """Return the line if it can be stored."""
    if len(line.key) > MAX_NAME_LENGTH or len(line.model) > MAX_NAME_LENGTH:
        raise RowError(f"A name is longer than {MAX_NAME_LENGTH} characters.")
    if "\0" in line.key or "\0" in line.model:
        raise RowError("A name has a null character.")
    if line.quantity is not None and not 0 <= line.quantity <= _MAX_QUANTITY:
        raise RowError(f"The quantity {line.quantity} is out of range.", "quantity")
    amount = line.amount_usd
    if amount is not None and (abs(amount) > MAX_AMOUNT_USD or to_storable(amount) != amount):
        raise RowError("The amount has too many digits.", "amount")
    return line
