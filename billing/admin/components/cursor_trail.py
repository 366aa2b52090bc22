"""Keyset pagination for long lists.

The URL has the cursors (`billing.reports.cursors`) of the pages already visited (`after=`, the last one is the current
page's), so that "newer" works without an OFFSET.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from django.http import QueryDict
from django.utils.http import urlencode

PARAMETER = "after"
_SEPARATOR = "."  # of the cursors of a trail
_MAX_TRAIL_LENGTH = 30  # pages that a user can go back; older cursors are dropped
_MAX_TRAIL_CHARACTERS = 2_000  # also dropped, because servers limit the length of a URL


@dataclass(frozen=True, slots=True)
class CursorTrail:
    """`given` are the other, non-empty parameters of the URL."""

    given: Mapping[str, str]
    cursors: tuple[str, ...]

    @classmethod
    def of(cls, query: QueryDict) -> Self:
        given = {name: str(query[name]) for name in query if query[name] and name != PARAMETER}
        cursors = filter(None, query.get(PARAMETER, "").split(_SEPARATOR))
        return cls(given, tuple(cursors)[-_MAX_TRAIL_LENGTH:])

    @property
    def cursor(self) -> str:
        """The cursor of this page; empty for the first page."""
        return self.cursors[-1] if self.cursors else ""

    @property
    def is_first(self) -> bool:
        return not self.cursors

    def newest(self) -> str:
        """Return the query string of the first page, with its question mark."""
        return self._query(())

    def newer(self) -> str:
        return self._query(self.cursors[:-1])

    def older(self, cursor: str) -> str:
        cursors = (*self.cursors, cursor)[-_MAX_TRAIL_LENGTH:]
        while len(cursors) > 1 and len(_joined(cursors)) > _MAX_TRAIL_CHARACTERS:
            cursors = cursors[1:]
        return self._query(cursors)

    def _query(self, cursors: tuple[str, ...]) -> str:
        after = {PARAMETER: _joined(cursors)} if cursors else {}
        return f"?{urlencode({**self.given, **after})}"


def _joined(cursors: Iterable[str]) -> str:
    return _SEPARATOR.join(cursors)
