"""The changelist of all lists in the admin."""

from typing import Any

from django.http import HttpRequest
from unfold.views import ChangeList


class PlainChangeList(ChangeList):
    """A changelist whose title is the model's plural name, and which does not count all rows, because that would need
    another query."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        plural = str(self.opts.verbose_name_plural)
        self.title = plural[:1].upper() + plural[1:]

    @property
    def row_names(self) -> tuple[str, str]:
        """What one row and several are called."""
        names: tuple[str, str] | None = getattr(self.model_admin, "row_names", None)
        return names or (str(self.opts.verbose_name), str(self.opts.verbose_name_plural))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count
