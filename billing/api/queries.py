"""Validation of query strings."""

from dataclasses import replace
from typing import Any

from django.http import QueryDict

from billing.api.windows import window_of
from costtrack.filters import ReportFilterSet
from costtrack.serializers import StrictSerializer, validated


def validated_query(serializer: type[StrictSerializer], params: QueryDict) -> dict[str, Any]:
    """Validate and return the parameters. Every endpoint also accepts `organization`. Raises ValidationError."""
    params = params.copy()
    params.pop("organization", None)
    return validated(serializer, params)


class WindowFilterSet(ReportFilterSet):
    """Sets the `window` of the query from the options `start_date` and `end_date`, which subclasses declare."""

    def narrow(self, query: Any) -> Any:
        return replace(super().narrow(query), window=window_of(self.options["start_date"], self.options["end_date"]))
