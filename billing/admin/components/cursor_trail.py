"""Going through a long list and back: the places where its pages began, in the address.

A list that is read along an index knows how to go on from a row, and not where the page before began. So the address
carries the way: `after=` has the cursors of the pages that were gone through, the last one being where this one begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from django.http import QueryDict
from django.utils.http import urlencode

PARAMETER = "after"
_SEPARATOR = "."
_MAX_LENGTH = 30  # pages that one can go back; from there, to the newest


@dataclass(frozen=True, slots=True)
class CursorTrail:
    """`given` are the parameters of the address; those that are empty say nothing."""

    given: Mapping[str, str]
    cursors: tuple[str, ...]

    @classmethod
    def of(cls, query: QueryDict) -> Self:
        given = {name: str(query[name]) for name in query if query[name] and name != PARAMETER}
        cursors = filter(None, query.get(PARAMETER, "").split(_SEPARATOR))
        return cls(given, tuple(cursors)[-_MAX_LENGTH:])

    @property
    def cursor(self) -> str:
        """Where this page begins; empty: at the newest."""
        return self.cursors[-1] if self.cursors else ""

    @property
    def is_first(self) -> bool:
        return not self.cursors

    def newest(self) -> str:
        """The address of the first page; all are the query of an address, with its question mark."""
        return self._query(())

    def newer(self) -> str:
        return self._query(self.cursors[:-1])

    def older(self, cursor: str) -> str:
        return self._query((*self.cursors, cursor)[-_MAX_LENGTH:])

    def _query(self, cursors: tuple[str, ...]) -> str:
        after = {PARAMETER: _SEPARATOR.join(cursors)} if cursors else {}
        return f"?{urlencode({**self.given, **after})}"
