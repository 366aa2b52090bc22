"""Query strings, checked."""

from typing import Any

from django.http import QueryDict

from costtrack.serializers import StrictSerializer


def checked(serializer: type[StrictSerializer], given: QueryDict) -> dict[str, Any]:
    """The query's parameters; every endpoint takes `organization` besides. Raises ValidationError."""
    given = given.copy()
    given.pop("organization", None)
    query = serializer(data=given)
    query.is_valid(raise_exception=True)
    asked: dict[str, Any] = query.validated_data
    return asked
