"""What viewsets have in common whose rows refer to one value of a limit."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeVar

from django.db.models import Model
from rest_framework import mixins
from rest_framework.response import Response

from billing.api.limits.serializers import RowWithValue
from billing.limits.selectors import display_values
from organizations.api.base import OrganizationScopedViewSet

M = TypeVar("M", bound=Model)


class ValuesDisplayed(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[M]):
    """Looks up the displayed form of the values of all rows of a response at once, for `DisplayValueField`."""

    openapi_tag: ClassVar[str] = "limits"

    def rows_context(self, rows: Sequence[Any]) -> dict[str, Any]:
        """Return the context of the serializer of these rows."""
        return self.display_values(rows)

    def display_values(self, rows: Iterable[RowWithValue]) -> dict[str, Any]:
        values = [(row.limit.scope, row.value) for row in rows]
        return {"display_values": display_values(self.organization, values)}

    def get_serializer(self, *rows: Any, **options: Any) -> Any:
        if rows:
            context = self.rows_context(rows[0] if options.get("many") else rows)
            options["context"] = {**self.get_serializer_context(), **context}
        return super().get_serializer(*rows, **options)

    def response_of(self, row: M, status: int = 200) -> Response:
        return Response(self.get_serializer(row).data, status=status)
