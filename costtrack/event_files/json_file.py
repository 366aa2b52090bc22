"""Reads JSON record by record, in bounded memory: an array, `{"events": [...]}`, one object per line, or a single
object.

Records are passed on unchanged, so that no number loses a digit.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from costtrack.event_files.types import FileError, Record

_HEAD = 1 << 16
_LARGEST_RECORD = 20 * 1024 * 1024  # what the server takes in one request
_ENVELOPE = re.compile(rb'\{\s*"events"\s*:\s*(?=\[)')
_BOM = b"\xef\xbb\xbf"
_decoder = json.JSONDecoder()


def json_records(file: BinaryIO) -> Iterator[Record]:
    """Yield the JSON texts of a file. Raises FileError if an array is not valid JSON as a whole, or the file is none of
    these; a line may be anything."""
    file.seek(0)
    head = file.read(_HEAD)
    start = len(head) - len(head.removeprefix(_BOM).lstrip())
    if head[start : start + 1] == b"[":
        return _elements(file, start, closed_by="")
    if envelope := _ENVELOPE.match(head, start):
        return _elements(file, envelope.end(), closed_by="}")
    if head[start : start + 1] not in (b"{", b""):
        raise FileError("is neither a JSON array of events nor one event per line")
    return _lines(file)


def _lines(file: BinaryIO) -> Iterator[Record]:
    file.seek(0)
    head = file.readline(_LARGEST_RECORD).removeprefix(_BOM)
    if not is_json(head) and is_json(content := head + file.read(_LARGEST_RECORD)):
        yield Record("events[0]", b" ".join(content.split(b"\n")))  # a single event over several lines
        return
    file.seek(0)
    for number, line in enumerate(file, start=1):
        text = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
        if text:
            yield Record(f"line {number}", text)


def _elements(file: BinaryIO, start: int, *, closed_by: str) -> Iterator[Record]:
    file.seek(start)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
    try:
        for index, element in enumerate(_ArrayReader(text, closed_by=closed_by).elements()):
            yield Record(f"events[{index}]", element.replace("\n", " ").replace("\r", " ").encode())
    except UnicodeDecodeError as error:
        raise FileError(f"is not UTF-8 text: {error.reason}") from error
    finally:
        text.detach()


class _ArrayReader:
    """Reads the JSON texts of an array's elements with a small buffer. `closed_by` is all that may follow the array."""

    def __init__(self, file: io.TextIOWrapper, *, closed_by: str) -> None:
        self._file = file
        self._closed_by = closed_by
        self._buffer = ""
        self._position = 0
        self._index = 0

    def elements(self) -> Iterator[str]:
        self._take("[")
        while self._next() != "]":
            if self._index:
                self._take(",")
            yield self._element()
            self._index += 1
        for closing in f"]{self._closed_by}":
            self._take(closing)
        if self._next():
            raise self._error("unexpected data after the array")

    def _element(self) -> str:
        self._next()
        while True:
            fault = "the file ends before the array"
            try:
                _, end = _decoder.raw_decode(self._buffer, self._position)
            except (ValueError, RecursionError) as error:
                fault = str(error)
            else:
                # A number at the end of the buffer may be incomplete.
                if end < len(self._buffer):
                    element, self._position = self._buffer[self._position : end], end
                    return element
            if len(self._buffer) - self._position > _LARGEST_RECORD or not self._read_more():
                raise self._error(fault)

    def _take(self, character: str) -> None:
        if self._next() != character:
            raise self._error(f"a {character!r} is missing")
        self._position += 1

    def _next(self) -> str:
        """Peek at the next non-space character; empty at the end."""
        while True:
            while self._position < len(self._buffer):
                if self._buffer[self._position] not in " \t\r\n":
                    return self._buffer[self._position]
                self._position += 1
            if not self._read_more():
                return ""

    def _read_more(self) -> bool:
        """Read at least as much as is buffered, so that a large element is not parsed too often."""
        rest = self._buffer[self._position :]
        more = self._file.read(max(_HEAD, len(rest)))
        self._buffer, self._position = rest + more, 0
        return bool(more)

    def _error(self, fault: str) -> FileError:
        return FileError(f"is not valid JSON at events[{self._index}]: {fault}")


def is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
