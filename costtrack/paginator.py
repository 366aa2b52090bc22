"""A paginator for large tables."""

from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.core.paginator import Paginator
from django.utils.functional import cached_property

if TYPE_CHECKING:
    from django.db.models import QuerySet


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # Django's takes no parameter
    """Counts up to `max_count` rows, so that its cost does not grow with the table. Users reach later rows by
    filtering."""

    max_count: ClassVar[int] = 5_000

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        return rows.order_by().values("pk")[: self.max_count].count()

    @property
    def is_capped(self) -> bool:
        """Whether there may be rows that no page shows."""
        return self.count == self.max_count
