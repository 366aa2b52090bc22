"""Validation of query strings."""

from typing import Any

from django.http import QueryDict

from costtrack.serializers import StrictSerializer


def validated_query(serializer: type[StrictSerializer], params: QueryDict) -> dict[str, Any]:
    """Validate and return the parameters. Every endpoint also accepts `organization`. Raises ValidationError."""
    params = params.copy()
    params.pop("organization", None)
    query = serializer(data=params)
    query.is_valid(raise_exception=True)
    validated: dict[str, Any] = query.validated_data
    return validated
