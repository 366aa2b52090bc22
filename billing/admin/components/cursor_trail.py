"""Keyset pagination for long lists.

The URL carries the cursors of the pages already visited (`after=`, the last one is the current page's), so that
"newer" works without an OFFSET.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from django.http import QueryDict
from django.utils.http import urlencode

PARAMETER = "after"
_SEPARATOR = "."
_MAX_LENGTH = 30  # pages that a user can go back; older cursors are dropped


@dataclass(frozen=True, slots=True)
class CursorTrail:
    """`given` are the other, non-empty parameters of the URL."""

    given: Mapping[str, str]
    cursors: tuple[str, ...]

    @classmethod
    def of(cls, query: QueryDict) -> Self:
        given = {name: str(query[name]) for name in query if query[name] and name != PARAMETER}
        cursors = filter(None, query.get(PARAMETER, "").split(_SEPARATOR))
        return cls(given, tuple(cursors)[-_MAX_LENGTH:])

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
        return self._query((*self.cursors, cursor)[-_MAX_LENGTH:])

    def _query(self, cursors: tuple[str, ...]) -> str:
        after = {PARAMETER: _SEPARATOR.join(cursors)} if cursors else {}
        return f"?{urlencode({**self.given, **after})}"
