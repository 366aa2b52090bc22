"""Pages of management lists: `?page=2&page_size=50`."""

from typing import Any

from rest_framework import pagination
from rest_framework.request import Request

from costtrack.errors import field_error


class PageNumberPagination(pagination.PageNumberPagination):
    """`{"count", "next", "previous", "results"}`. The queryset must be totally ordered."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 100

    def get_page_size(self, request: Request) -> int | None:
        """Unlike the base class, reject an invalid size."""
        given = request.query_params.get("page_size")
        if given and not (given.isascii() and given.isdecimal() and 1 <= int(given[:9]) <= self.max_page_size):
            raise field_error("page_size", f"must be a whole number from 1 to {self.max_page_size}.")
        return super().get_page_size(request)

    def get_page_number(self, request: Request, paginator: Any) -> int | str:
        given = request.query_params.get("page") or "1"
        if not (given.isascii() and given.isdecimal() and int(given[:9]) >= 1):
            raise field_error("page", "must be a positive whole number.")
        return super().get_page_number(request, paginator)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Describe the parameters and their bounds for the OpenAPI document."""
        page_size = {"type": "integer", "minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
        return [
            _parameter("page", "Page number.", {"type": "integer", "minimum": 1, "default": 1}),
            _parameter("page_size", "Items per page.", page_size),
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "properties": {
                "count": {"type": "integer", "description": "Total number of items."},
                "next": {**link, "description": "Null on the last page."},
                "previous": {**link, "description": "Null on the first page."},
                "results": schema,
            },
            "required": ["count", "next", "previous", "results"],
        }


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"in": "query", "name": name, "description": description, "schema": schema}
