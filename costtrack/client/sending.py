"""Sends the events of a file in batches, and saves the progress."""

import gzip
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from costtrack.client.errors import ClientError, refusal
from costtrack.client.event_source import EventSource
from costtrack.client.progress import Progress
from costtrack.client.retrying import Retrying
from costtrack.client.send_state import SendState, Totals
from costtrack.client.transport import Answer
from costtrack.event_files import Record
from costtrack.event_files.types import generated_id_prefix, with_id

_MAX_BYTES = 1_000_000  # the default limit of common proxies


class Poster(Protocol):
    """Sends a request (see `Transport.request`)."""

    def __call__(self, method: str, path: str, *, body: bytes, headers: dict[str, str]) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of the file: those to send, and the errors of unreadable ones."""

    records: list[Record] = field(default_factory=list)
    unreadable: list[dict[str, Any]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.records) + len(self.unreadable)


@dataclass(slots=True)
class Sending:
    """Sends one file. `on_error` is called for each record that was not stored."""

    file: EventSource
    state: SendState
    request: Poster
    retrying: Retrying
    progress: Progress
    on_error: Callable[[dict[str, Any]], None]
    batch_size: int

    @property
    def _generated_id_prefix(self) -> str:
        """The prefix of generated ids, which is the same whenever this content is sent."""
        return generated_id_prefix(self.file.digest)

    def run(self) -> Totals:
        """Send what the server has not acknowledged, and return the totals of the whole file. Raises ClientError."""
        totals = self.state.totals
        self.progress.advance(totals.events)
        for batch in self._batches(totals.events):
            result = self._send(batch.records) if batch.records else {}
            totals = totals.plus(batch.size, len(batch.unreadable), result)
            for error in sorted(self._errors(batch, result), key=_position):
                self.on_error(error)
            self.state.save(totals)
            self.progress.advance(batch.size)
        self.state.forget()
        return totals

    def _batches(self, after: int) -> Iterator[Batch]:
        batch, size = Batch(), 0
        for index, record in enumerate(self.file.records(after=after), start=after):
            if batch.size == self.batch_size or size + len(record.json) > _MAX_BYTES:
                if batch.size:
                    yield batch
                batch, size = Batch(), 0
            if record.fault:
                error = {"place": record.location, "field": record.field, "code": "invalid", "message": record.fault}
                batch.unreadable.append({name: value for name, value in error.items() if value})
                continue
            try:
                batch.records.append(with_id(record, f"{self._generated_id_prefix}{index}"))
            except ValueError as error:
                batch.unreadable.append(
                    {"place": record.location, "code": "malformed", "message": f"Not valid JSON: {error}"}
                )
            size += len(record.json)
        if batch.size:
            yield batch

    def _send(self, records: Sequence[Record]) -> dict[str, Any]:
        """Send a batch and return its result. A batch of which nothing was stored is a 422 with the same body."""
        body = gzip.compress(b"\n".join(record.json for record in records), compresslevel=1, mtime=0)
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        answer = self.retrying.call(lambda: self.request("POST", "/usage/events", body=body, headers=headers))
        data = answer.data_or_none()
        if isinstance(data, dict) and isinstance(data.get("accepted"), int):
            return data
        if answer.is_good:
            raise ClientError("the response does not say what was stored: is this the URL of a costtrack server?")
        raise refusal(answer.status, data)

    def _errors(self, batch: Batch, result: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from batch.unreadable
        for error in result.get("errors", []):
            index = error.get("index")
            known = isinstance(index, int) and 0 <= index < len(batch.records)
            location = batch.records[index].location if known else "a record"
            about = {name: value for name, value in error.items() if name != "index"}
            if str(about.get("id")).startswith(self._generated_id_prefix):
                del about["id"]  # the user does not know it
            yield {"place": location, **about}


def _position(error: dict[str, Any]) -> int:
    """Return the last number in `line 17`, `events[16]` or `folder/file.jsonl line 17`."""
    numbers = re.findall(r"\d+", error["place"])
    return int(numbers[-1]) if numbers else 0
