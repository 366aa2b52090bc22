"""The cache that each process has of rows that it can check cheaply: limits, prices, credentials, responses.

An entry holds a value with the revision of the rows that it was made from. A reader first reads the current revision
from the database, and gets the value only if the revision is the same, so a cached value is never outdated:

    revision = ...                                    # one small query
    prices = cache.get_or_load(organization_id, revision, lambda: load_prices(organization_id))
"""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")
V = TypeVar("V")


class RevisionCache(Generic[K, R, V]):
    """A bounded cache; the least recently used values are dropped first. Thread-safe.

    `max_size` is a number of values, or the sum of their `size_of`; values above `max_value_size` are not stored.
    """

    def __init__(
        self, max_size: int, *, size_of: Callable[[V], int] | None = None, max_value_size: int | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._size: Callable[[V], int] = size_of or (lambda _: 1)
        self._entries: LRUCache[K, tuple[R, V]] = LRUCache(max_size, getsizeof=lambda entry: self._size(entry[1]))
        self._max_value_size = max_size if max_value_size is None else max_value_size

    def get(self, key: K, revision: R) -> V | None:
        """Return the cached value of this revision."""
        entry = self.peek_entry(key)
        return entry[1] if entry is not None and entry[0] == revision else None

    def peek(self, key: K) -> V | None:
        """Return the cached value of any revision. The caller must compare the revision later."""
        entry = self.peek_entry(key)
        return None if entry is None else entry[1]

    def peek_entry(self, key: K) -> tuple[R, V] | None:
        """Return the revision and the value that are cached."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: K, revision: R, value: V) -> None:
        with self._lock:
            if self._size(value) <= self._max_value_size:
                self._entries[key] = (revision, value)

    def get_or_load(self, key: K, revision: R, load: Callable[[], V]) -> V:
        """Return the value of this revision from the cache, or load it.

        Read the revision before the value: if the rows change in between, the newer value is cached under the older
        revision, and the next call loads it again. In the other order an outdated value could stay.
        """
        value = self.get(key, revision)
        if value is None:
            value = load()
            self.put(key, revision, value)
        return value
