"""Group commit: items that arrive while another thread of the process writes for the same key are written together.

The first thread writes immediately. Threads that arrive in the meantime are queued; when the first one is done, one of
them writes all queued items in one transaction. No thread is delayed to fill a group, and under load many threads share
a commit. Each thread returns after the commit that contains its item.

An item never affects the others: if items cannot be written together, each thread writes its own item separately.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from django.db import DatabaseError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")

# SQLSTATE classes of a lost connection. PostgreSQL may or may not have committed.
_CONNECTION_LOST = ("08", "57P")


@dataclass(eq=False, slots=True)
class _Turn(Generic[T, R]):
    """A thread's item and its outcome: a result, an error, or neither, in which case the thread writes it itself."""

    item: T
    is_settled: threading.Event = field(default_factory=threading.Event)
    is_leader: bool = False
    result: R | None = None
    error: Exception | None = None


class GroupCommit(Generic[K, T, R]):
    """`write_together` writes items of one key in one transaction and returns a result for all of them. `write_alone`
    writes one item."""

    def __init__(
        self,
        write_together: Callable[[K, list[T]], R],
        write_alone: Callable[[K, T], R],
        *,
        max_items: int,
    ) -> None:
        self._write_together = write_together
        self._write_alone = write_alone
        self._max_items = max_items
        self._lock = threading.Lock()
        self._queued: dict[K, list[_Turn[T, R]]] = {}
        """The queued turns by key. A key is present while one of its threads writes."""

    def submit(self, key: K, item: T) -> R:
        """Write the item and return the result. Raises the errors of writing it."""
        turn: _Turn[T, R] = _Turn(item)
        if not self._leads_at_once(key, turn):
            turn.is_settled.wait()
        if turn.is_leader:
            self._lead(key, turn)
        if turn.error is not None:
            raise turn.error
        return self._write_alone(key, item) if turn.result is None else turn.result

    def _leads_at_once(self, key: K, turn: _Turn[T, R]) -> bool:
        with self._lock:
            if key in self._queued:
                self._queued[key].append(turn)
            else:
                self._queued[key] = []
                turn.is_leader = True
            return turn.is_leader

    def _lead(self, key: K, turn: _Turn[T, R]) -> None:
        """Write the items of all queued turns, and let the next thread lead."""
        with self._lock:
            others = self._queued[key][: self._max_items - 1]
            del self._queued[key][: self._max_items - 1]
        turns = [turn, *others]
        try:
            result = self._write_together(key, [each.item for each in turns])
        except Exception as error:  # noqa: BLE001 - raised by each thread, or by writing alone
            if is_outcome_unknown(error):
                for each in turns:
                    each.error = error
        else:
            for each in turns:
                each.result = result
        finally:
            for each in others:
                each.is_settled.set()
            self._pass_on(key)

    def _pass_on(self, key: K) -> None:
        with self._lock:
            if queued := self._queued[key]:
                following = queued.pop(0)
                following.is_leader = True
                following.is_settled.set()
            else:
                del self._queued[key]


def is_outcome_unknown(error: Exception) -> bool:
    """Whether the transaction may have committed although the statement failed, so that a retry could write twice."""
    if not isinstance(error, DatabaseError):
        return False
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    return sqlstate is None or sqlstate.startswith(_CONNECTION_LOST)
