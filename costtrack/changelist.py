"""The changelist that all lists of the admin use."""

from typing import Any

from django.http import HttpRequest
from unfold.views import ChangeList


class PlainChangeList(ChangeList):
    """Titled with the plural name of its model, and without the count of all rows, which would be a query of its
    own."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        plural = str(self.opts.verbose_name_plural)
        self.title = plural[:1].upper() + plural[1:]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count
