"""Reads a file of usage events record by record, in bounded memory: a JSON array, `{"events": [...]}`, one event per
line, or a single event.

Records are passed on unchanged, so that no number loses a digit.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from costtrack.client.errors import ClientError

_HEAD = 1 << 16
_CHUNK = 1 << 20
_LARGEST_RECORD = 20 * 1024 * 1024  # what the server takes in one request
_ENVELOPE = re.compile(rb'\{\s*"events"\s*:\s*(?=\[)')
_BOM = b"\xef\xbb\xbf"
_decoder = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Record:
    """The JSON of one event without line breaks, and its location: `line 17` or `events[16]`."""

    location: str
    json: bytes


class EventFile:
    """A seekable binary file. It is read once for `digest` (of its content) and `count` (of records)."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._is_envelope = False
        self._array_starts_at = self._find_array()
        self.digest = self._digest()
        self.count = sum(1 for _ in self._all())
        if not self.count:
            raise ClientError(f"{name} has no events")

    def records(self, *, after: int) -> Iterator[Record]:
        """Return the records after the first `after` ones, ignoring what was written to the file later."""
        return islice(self._all(), after, self.count)

    def _all(self) -> Iterator[Record]:
        if self._array_starts_at is not None:
            return self._elements(self._array_starts_at)
        return self._lines()

    def _find_array(self) -> int | None:
        """Return the position of the array's bracket, or None if each line is an event."""
        self._file.seek(0)
        head = self._file.read(_HEAD)
        start = len(head) - len(head.removeprefix(_BOM).lstrip())
        if head[start : start + 1] == b"[":
            return start
        if envelope := _ENVELOPE.match(head, start):
            self._is_envelope = True
            return envelope.end()
        if head[start : start + 1] not in (b"{", b""):
            raise ClientError(f"{self._name} is neither a JSON array of events nor one event per line")
        return None

    def _digest(self) -> str:
        self._file.seek(0)
        digest = hashlib.sha256()
        while chunk := self._file.read(_CHUNK):
            digest.update(chunk)
        return digest.hexdigest()

    def _lines(self) -> Iterator[Record]:
        self._file.seek(0)
        head = self._file.readline(_LARGEST_RECORD).removeprefix(_BOM)
        if not _is_json(head) and _is_json(content := head + self._file.read(_LARGEST_RECORD)):
            yield Record("events[0]", b" ".join(content.split(b"\n")))  # a single event over several lines
            return
        self._file.seek(0)
        for number, line in enumerate(self._file, start=1):
            text = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
            if text:
                yield Record(f"line {number}", text)

    def _elements(self, start: int) -> Iterator[Record]:
        self._file.seek(start)
        text = io.TextIOWrapper(self._file, encoding="utf-8", newline="\n")
        try:
            reader = _ArrayReader(text, self._name, closed_by="}" if self._is_envelope else "")
            for index, element in enumerate(reader.elements()):
                yield Record(f"events[{index}]", element.replace("\n", " ").replace("\r", " ").encode())
        except UnicodeDecodeError as error:
            raise ClientError(f"{self._name} is not UTF-8 text: {error.reason}") from error
        finally:
            text.detach()


class _ArrayReader:
    """Reads the JSON texts of an array's elements with a small buffer. `closed_by` is all that may follow the array."""

    def __init__(self, file: io.TextIOWrapper, name: str, *, closed_by: str) -> None:
        self._file = file
        self._name = name
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

    def _error(self, fault: str) -> ClientError:
        return ClientError(f"{self._name} is not valid JSON at events[{self._index}], nothing was sent: {fault}")


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
