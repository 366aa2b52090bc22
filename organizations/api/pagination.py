"""Pages of management lists: `?page=2&page_size=50`."""

from typing import Any

from rest_framework import pagination
from rest_framework.request import Request

from costtrack.errors import InvalidError


class PageNumberPagination(pagination.PageNumberPagination):
    """`{"count", "next", "previous", "results"}`. Lists it is used for must be totally ordered."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 100

    def get_page_size(self, request: Request) -> int | None:
        """Unlike the class above, say so when the size cannot be used."""
        given = request.query_params.get("page_size")
        if given is not None and not (
            given.isascii() and given.isdecimal() and 1 <= int(given[:9]) <= self.max_page_size
        ):
            raise InvalidError(f"page_size: a whole number from 1 to {self.max_page_size}.", param="page_size")
        return super().get_page_size(request)

    def get_page_number(self, request: Request, paginator: Any) -> int | str:
        given = request.query_params.get("page", "1")
        if not (given.isascii() and given.isdecimal() and int(given[:9]) >= 1):
            raise InvalidError("page: a whole number of at least 1.", param="page")
        return super().get_page_number(request, paginator)
