"""The file or folder that `costtrack events send` sends, opened and counted."""

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from costtrack.client.errors import ClientError
from costtrack.event_files import EventFile, FileError, ReadOptions, Record
from costtrack.event_files.event_file import TranscriptFolder, inflated

_MAX_INFLATED_BYTES = 16 * 1024**3
STDIN = "-"


class EventSource:
    """The records of a file or a folder. It is read once for `digest` (of its content) and `count` (of records), so
    that nothing is sent of a file that cannot be read to its end.

    `state_key` identifies what is sent: the content, read with these options.
    """

    def __init__(self, file: EventFile | TranscriptFolder, name: str, options: ReadOptions) -> None:
        self._file = file
        self._name = name
        self.format = file.format
        self.columns = tuple(file.columns)
        with _errors_of(name):
            self.digest = file.digest
            self.count = sum(1 for _ in file.records())
        if not self.count:
            raise ClientError(f"{name} has no events")
        read_as = json.dumps([dict(options.columns), dict(options.defaults)], sort_keys=True)
        has_options = bool(options.columns or options.defaults)
        self.state_key = hashlib.sha256(f"{self.digest}{read_as}".encode()).hexdigest() if has_options else self.digest

    def records(self, *, after: int) -> Iterator[Record]:
        """Yield the records after the first `after` ones, ignoring what was written to the file later."""
        with _errors_of(self._name):
            yield from islice(self._file.records(), after, self.count)


@contextmanager
def open_source(path: Path, options: ReadOptions) -> Iterator[EventSource]:
    """Open a file, stdin, or a folder of transcripts. Raises ClientError."""
    with ExitStack() as stack:
        stack.enter_context(_errors_of(str(path)))
        if path.is_dir():
            file: EventFile | TranscriptFolder = TranscriptFolder(path, options)
        else:
            binary = stack.enter_context(_opened(path))
            file = EventFile(stack.enter_context(inflated(binary, max_bytes=_MAX_INFLATED_BYTES)), options)
        yield EventSource(file, str(path), options)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open the file. Piped input is copied to a temporary file first, because events are read twice."""
    with ExitStack() as open_files:
        try:
            file = sys.stdin.buffer if str(path) == STDIN else open_files.enter_context(path.open("rb"))
            if file is sys.stdin.buffer or not file.seekable():
                spool = open_files.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(file, spool)
                file = spool
        except OSError as error:
            raise ClientError(f"{path} cannot be read: {error.strerror or error}") from error
        yield file


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    try:
        yield
    except FileError as error:
        raise ClientError(f"{name} {error}") from error
