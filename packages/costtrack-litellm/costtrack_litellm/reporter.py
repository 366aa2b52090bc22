"""Reports calls to costtrack: one thread stores them on disk, another sends them, and neither delays a call."""

import logging
import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from typing import Any

import httpx

from costtrack_litellm.disk_queue import RELEASE, USAGE, DiskQueue, Item, SenderLock
from costtrack_litellm.payloads import Release, Usage
from costtrack_litellm.settings import Settings

logger = logging.getLogger("costtrack")

_MAX_IN_MEMORY = 100_000
_BATCH_CALLS = 500
_BATCH_BYTES = 4 << 20
_TRANSACTION_BYTES = 64 << 10
_POLL_SECONDS = 0.5  # how soon usage is sent that another process has stored
_RETRY_SECONDS = 0.25
_MAX_RETRY_SECONDS = 30.0
_SEND_SECONDS = 30
_WARN_SECONDS = 60
_NEVER_READABLE = {httpx.codes.BAD_REQUEST, httpx.codes.REQUEST_ENTITY_TOO_LARGE, httpx.codes.UNPROCESSABLE_ENTITY}
_RELEASE_ENDED = {httpx.codes.NOT_FOUND, httpx.codes.CONFLICT, httpx.codes.GONE, httpx.codes.UNPROCESSABLE_ENTITY}


class Reporter:
    """Stores items in the queue on disk, and sends them in order until costtrack has accepted them.

    Raises ValueError if the folder of the queue cannot be written.
    """

    def __init__(self, settings: Settings, headers: dict[str, str]) -> None:
        self._settings, self._headers = settings, headers
        try:
            queue = self._open_queue()
            is_left_over = len(queue) > 0
            queue.close()
        except (OSError, sqlite3.Error) as error:
            raise ValueError(
                f"COSTTRACK_QUEUE is {str(settings.queue_folder)!r}, which cannot be used: {error}"
            ) from error
        self.sent = 0
        """The number of items that costtrack has accepted from this process."""
        self._begin()
        begin = weakref.WeakMethod(self._begin)

        def begin_in_child() -> None:
            method = begin()
            if method is not None:
                method()

        os.register_at_fork(after_in_child=begin_in_child)
        if is_left_over:  # by a process that has ended
            self._start()

    def put(self, item: Usage | Release) -> None:
        entry = (USAGE, item.to_json()) if isinstance(item, Usage) else (RELEASE, item.authorization_id)
        if len(entry[1]) > self._settings.queue_bytes // 2:
            logger.error("dropped a call whose usage is larger than half of the queue: %s", entry[1][:200])
            return
        with self._changed:
            if len(self._unwritten) >= _MAX_IN_MEMORY:
                logger.error("the queue for costtrack is full; dropped %s", self._unwritten.popleft())
            self._unwritten.append(entry)
            self._start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything is stored and sent, for up to this many seconds. Return whether it was; what was not
        sent remains on disk for the next start."""
        with self._changed:
            self._is_urgent = True
            self._changed.notify_all()
            is_sent = self._changed.wait_for(self._is_drained, seconds)
            self._is_urgent = False
            if self._unwritten or self._writing:
                logger.error("%s calls could not be stored", len(self._unwritten) + len(self._writing))
            elif not is_sent:
                logger.warning("costtrack is unavailable; the queue on disk is sent after the next start")
        return is_sent

    def _is_drained(self) -> bool:
        is_sent = not self._unwritten and not self._writing and self._drained == self._generation
        return is_sent or not self._threads

    def _begin(self) -> None:
        """The state of a new process. A forked child has none of the threads, and its parent stores what is pending."""
        self._changed = threading.Condition()  # reentrant: the garbage collector may put something at any moment
        self._unwritten: deque[tuple[str, str]] = deque()
        self._writing: list[tuple[str, str]] = []
        self._generation, self._drained = 0, -1
        self._is_urgent = False
        self._warned_reason, self._warned_at = "", 0.0
        self._lock = SenderLock(self._settings.queue_folder)
        self._threads: list[threading.Thread] = []

    def _start(self) -> None:
        if not self._threads:
            for work in (self._write, self._send):
                self._threads.append(threading.Thread(target=work, name=f"costtrack{work.__name__}", daemon=True))
                self._threads[-1].start()

    def _open_queue(self) -> DiskQueue:
        return DiskQueue(self._settings.queue_folder, self._settings.queue_bytes)

    # --- Storing ---------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        queue: DiskQueue | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unwritten)
                self._take_unwritten()
            try:
                queue = queue or self._open_queue()
                queue.add(self._writing)
            except (OSError, sqlite3.Error) as error:  # full, usually; the sender makes room
                logger.error("cannot store usage for costtrack on disk: %s", error)  # noqa: TRY400 - no traceback
                with self._changed:
                    self._unwritten.extendleft(reversed(self._writing))
                    self._writing = []
                    self._changed.wait(1)
                continue
            with self._changed:
                self._writing = []
                self._generation += 1
                self._changed.notify_all()

    def _take_unwritten(self) -> None:
        """Take what fits into one transaction even if the queue is nearly full."""
        size = 0
        while self._unwritten and (not self._writing or size + len(self._unwritten[0][1]) <= _TRANSACTION_BYTES):
            self._writing.append(self._unwritten.popleft())
            size += len(self._writing[-1][1])

    # --- Sending ---------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        pause = 0.0
        queue: DiskQueue | None = None
        with httpx.Client(base_url=self._settings.url, headers=self._headers, timeout=_SEND_SECONDS) as client:
            while True:
                try:
                    queue = queue or self._open_queue()
                    is_done = self._send_first(queue, client)
                except (OSError, sqlite3.Error) as error:
                    logger.error("cannot read the queue for costtrack: %s", error)  # noqa: TRY400
                    is_done, queue = False, None
                if is_done:
                    pause = 0.0
                else:
                    pause = min(max(pause * 2, _RETRY_SECONDS), _MAX_RETRY_SECONDS)
                    self._pause(pause)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_urgent, seconds)
            if self._is_urgent:
                self._changed.wait(min(seconds, _RETRY_SECONDS))

    def _send_first(self, queue: DiskQueue, client: httpx.Client) -> bool:
        """Send the first items, or wait for some. Return False if they must be sent again later."""
        generation = self._generation
        items = _batch(queue.first(_BATCH_CALLS)) if self._lock.acquire() else []
        if not items:
            with self._changed:
                self._drained = generation
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._generation != generation, _POLL_SECONDS)
            return True
        if not self._deliver(items, client):
            return False
        queue.remove(items)
        self.sent += len(items)
        return True

    def _deliver(self, items: list[Item], client: httpx.Client) -> bool:
        """Return whether costtrack has the items, or will never accept them."""
        try:
            if items[0].kind == RELEASE:
                answer = client.delete(f"/usage/authorizations/{items[0].body}")
                is_done = answer.is_success or answer.status_code in _RELEASE_ENDED
            else:
                answer = client.post(
                    "/integrations/litellm",
                    content=f"[{','.join(item.body for item in items)}]",
                    headers={"Content-Type": "application/json"},
                )
                if answer.status_code in _NEVER_READABLE and (len(items) > 1 or _is_from_costtrack(answer)):
                    return self._deliver_each(items, client, answer)
                is_done = answer.is_success and "accepted" in body_of(answer)
        except httpx.HTTPError as error:
            self._warn(type(error).__name__)
            return False
        if not is_done:
            self._warn(f"HTTP {answer.status_code} {answer.text[:200]}")
        elif body_of(answer).get("rejected"):
            logger.error("costtrack could not read some usage (see its quarantine): %s", answer.text[:1000])
        return is_done

    def _warn(self, reason: str) -> None:
        """An outage of an hour needs a line for each minute, not for each attempt."""
        if reason != self._warned_reason or time.monotonic() > self._warned_at + _WARN_SECONDS:
            self._warned_reason, self._warned_at = reason, time.monotonic()
            logger.warning("cannot report to costtrack, usage is stored on disk meanwhile: %s", reason)

    def _deliver_each(self, items: list[Item], client: httpx.Client, refusal: httpx.Response) -> bool:
        """Find the one that is refused, and drop only that."""
        if len(items) == 1:
            logger.error("costtrack refused usage: HTTP %s %s", refusal.status_code, refusal.text[:1000])
            return True
        return all(self._deliver([item], client) for item in items)


def _is_from_costtrack(refusal: httpx.Response) -> bool:
    """A proxy in front of costtrack, or another server at a wrong address, can send the same statuses. Its refusal says
    nothing about the call, which is retried."""
    return "code" in body_of(refusal)


def _batch(items: list[Item]) -> list[Item]:
    """Return the first release, or the first calls up to the next release."""
    batch, size = items[:1], 0
    if items and items[0].kind == USAGE:
        for item in items[1:]:
            size += len(item.body)
            if item.kind != USAGE or size > _BATCH_BYTES:
                break
            batch.append(item)
    return batch


def body_of(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
