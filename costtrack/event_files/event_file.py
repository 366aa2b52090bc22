"""A file of usage in any format, and a folder of transcripts."""

import gzip
import hashlib
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from costtrack.event_files.columns import Column, is_field, map_columns, row_event
from costtrack.event_files.json_file import json_records
from costtrack.event_files.provider_usage import (
    anthropic_event,
    is_anthropic_usage,
    is_cost_export,
    is_openai_usage,
    openai_event,
    page_rows,
)
from costtrack.event_files.spend_logs import is_spend_logs, spend_log_event
from costtrack.event_files.table_file import csv_columns, csv_rows, parquet_columns, parquet_rows
from costtrack.event_files.transcripts import transcript_format, transcript_records
from costtrack.event_files.types import FileError, FileFormat, ReadOptions, Record, Row, RowError

_CHUNK = 1 << 20
_GROWS_SECONDS = 600
_HEAD = 1 << 16
_BOM = b"\xef\xbb\xbf"
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_COSTS = "is an export of costs, which has no tokens: export the usage instead"
_UNKNOWN = (
    "is in no known format: JSON, CSV with a header, Parquet, a transcript, LiteLLM's spend logs, or a usage export"
)
_NO_TIME = "has no column with the time of the calls: name it, for example --map 'Created=occurred_at'"


@contextmanager
def inflated(file: BinaryIO, *, max_bytes: int) -> Iterator[BinaryIO]:
    """Return the file, or a temporary copy of what it contains if it is compressed with gzip. Raises FileError beyond
    `max_bytes`."""
    file.seek(0)
    if file.read(2) != _GZIP:
        yield file
        return
    file.seek(0)
    with tempfile.TemporaryFile() as copy:
        size = 0
        try:
            with gzip.GzipFile(fileobj=file) as compressed:
                while chunk := compressed.read(_CHUNK):
                    size += len(chunk)
                    if size > max_bytes:
                        raise FileError(f"is larger than {max_bytes // 1024 // 1024:,} MB when inflated")
                    copy.write(chunk)
        except (OSError, EOFError, zlib.error) as error:
            raise FileError(f"is not a valid gzip file: {error}") from error
        yield copy


class EventFile:
    """A seekable binary file that is not compressed.

    `columns` are those of a table, with their fields. `digest` is that of the content.
    """

    def __init__(self, file: BinaryIO, options: ReadOptions | None = None) -> None:
        self._file = file
        self._options = options or ReadOptions()
        self.column_names: list[str] = []
        self.format = self._detect()
        self.columns: list[Column] = []
        if self.format.has_columns:
            self.columns = self._map_columns()

    @property
    def digest(self) -> str:
        return _digest(self._file).hex()

    def records(self) -> Iterator[Record]:
        """Yield the records. Raises FileError if the rest cannot be read."""
        if self.format.has_columns and not any(column.field == "occurred_at" for column in self.columns):
            raise FileError(_NO_TIME)
        defaults = self._options.defaults
        return (with_defaults(record, defaults) for record in self._records()) if defaults else self._records()

    def _records(self) -> Iterator[Record]:
        if self.format.is_transcript:
            yield from transcript_records(self._file, self.format)
        elif self.format is FileFormat.JSON:
            yield from json_records(self._file)
        else:
            convert = self._converter()
            for row in self._rows():
                try:
                    yield convert(row)
                except RowError as error:
                    yield Record(row.location, fault=str(error), field=error.field)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of a table before their conversion."""
        return parquet_rows(self._file) if self._is_parquet else csv_rows(self._file)

    def _rows(self) -> Iterator[Row]:
        if self.column_names:
            return self.rows()
        if self.format is FileFormat.SPEND_LOGS:
            return map(_row, json_records(self._file))
        return page_rows(self._file)

    def _converter(self) -> Callable[[Row], Record]:
        now = self._options.now
        match self.format:
            case FileFormat.SPEND_LOGS:
                return spend_log_event
            case FileFormat.OPENAI_USAGE:
                return lambda row: openai_event(row, now)
            case FileFormat.ANTHROPIC_USAGE:
                return lambda row: anthropic_event(row, now)
            case _:
                return lambda row: row_event(row, self.columns)

    def _map_columns(self) -> list[Column]:
        for name, field in self._options.columns.items():
            if name not in self.column_names:
                raise FileError(f"has no column {name!r}")
            if field and not is_field(field):
                raise FileError(f"cannot have a column for {field!r}: that is not a field of an event")
        return map_columns(self.column_names, self._options.columns)

    def _detect(self) -> FileFormat:
        self._file.seek(0)
        head = self._file.read(_HEAD)
        self._is_parquet = head.startswith(_PARQUET)
        if self._is_parquet:
            self.column_names = parquet_columns(self._file)
            return _table_format(self.column_names, FileFormat.PARQUET)
        text = head.removeprefix(_BOM).lstrip()
        if text[:1] in (b"{", b"[", b""):
            return transcript_format(self._file) or _json_format(self._file, text)
        if b"\0" not in head or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            self.column_names = csv_columns(self._file)
        if len(set(filter(None, self.column_names))) < 2:  # noqa: PLR2004 - a time and something else
            raise FileError(_UNKNOWN)
        return _table_format(self.column_names, FileFormat.CSV)


def _table_format(names: list[str], otherwise: FileFormat) -> FileFormat:
    if is_spend_logs(names):
        return FileFormat.SPEND_LOGS
    if is_openai_usage(names):
        return FileFormat.OPENAI_USAGE
    if is_anthropic_usage(names):
        return FileFormat.ANTHROPIC_USAGE
    if is_cost_export(names):
        raise FileError(_COSTS)
    return otherwise


def _json_format(file: BinaryIO, head: bytes) -> FileFormat:
    """Return the format of JSON by its first object. Only a usage export has buckets with results."""
    if b'"results"' in head and (b'"starting_at"' in head or b'"start_time"' in head) and b'"data"' in head:
        row = next(page_rows(file), None)
        names = () if row is None else row.values
        if is_cost_export(names):
            raise FileError(_COSTS)
        is_anthropic = row is None or "starting_at" in names
        return FileFormat.ANTHROPIC_USAGE if is_anthropic else FileFormat.OPENAI_USAGE
    first = next(json_records(file), None)
    values = _values(first.json) if first is not None else {}
    return FileFormat.SPEND_LOGS if is_spend_logs(values) else FileFormat.JSON


def _values(raw: bytes) -> dict[str, object]:
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _row(record: Record) -> Row:
    return Row(record.location, _values(record.json))


def with_defaults(record: Record, defaults: Mapping[str, str]) -> Record:
    """Return the record with fields that it does not have."""
    values = {} if record.fault else _values(record.json)
    missing = {name: value for name, value in defaults.items() if values.get(name) in (None, "")}
    if not values or not missing:
        return record
    added = json.dumps(missing, ensure_ascii=False).encode()
    return replace(record, json=record.json.rstrip().removesuffix(b"}") + b"," + added[1:])


class TranscriptFolder:
    """All transcripts below a folder, the oldest first, so that a copy of a history comes after the original."""

    columns: tuple[Column, ...] = ()

    def __init__(self, folder: Path, options: ReadOptions | None = None) -> None:
        self._folder = folder
        self._options = options or ReadOptions()
        self._files: list[tuple[Path, FileFormat]] = []
        for path in sorted(folder.rglob("*.jsonl"), key=_age):
            if path.is_file() and (form := self._format_of(path)) is not None:
                self._files.append((path, form))
        if not self._files:
            raise FileError("has no transcripts of Claude Code or Codex")
        self.format = self._files[0][1]

    @property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for path, _ in self._files:
            with path.open("rb") as file:
                digest.update(_digest(file))
        return digest.hexdigest()

    def records(self) -> Iterator[Record]:
        for path, form in self._files:
            is_growing = self._options.now.timestamp() - path.stat().st_mtime < _GROWS_SECONDS
            with path.open("rb") as file:
                for record in transcript_records(file, form, is_growing=is_growing):
                    located = replace(record, location=f"{path.relative_to(self._folder)} {record.location}")
                    yield with_defaults(located, self._options.defaults)

    @staticmethod
    def _format_of(path: Path) -> FileFormat | None:
        with path.open("rb") as file:
            return transcript_format(file)


def _digest(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.digest()


def _age(path: Path) -> tuple[float, str]:
    return path.stat().st_mtime, str(path)


def first_records(file: EventFile | TranscriptFolder, number: int) -> list[Record]:
    """Return the first records, for a preview."""
    return list(islice(file.records(), number))
