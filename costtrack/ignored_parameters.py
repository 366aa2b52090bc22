"""Unknown query parameters of the endpoints that follow a published document.

Their upstreams ignore them, so a newer client's parameter is no error here either. The response names them in a header,
so that a misspelled filter is noticed. All other endpoints refuse unknown parameters.
"""

from collections.abc import Iterable
from urllib.parse import quote

from django.http import QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

HEADER = "X-Ignored-Parameters"
IGNORED = OpenApiParameter(
    HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="Unknown query parameters, which have no effect, separated by commas.",
    response=True,
)
_MAX_NAMES, _MAX_LENGTH = 20, 100


def ignore(params: QueryDict, names: Iterable[str]) -> None:
    """Note that these parameters of a request are ignored."""
    params.ignored = [quote(name[:_MAX_LENGTH]) for name in names][:_MAX_NAMES]  # type: ignore[attr-defined]


def ignore_all(params: QueryDict) -> None:
    """Note that all parameters besides `organization` are ignored."""
    ignore(params, [name for name in params if name != "organization"])


def ignored_headers(params: QueryDict) -> dict[str, str]:
    """Return the header for the ignored parameters of a request, if there are any."""
    names: list[str] = getattr(params, "ignored", [])
    return {HEADER: ", ".join(names)} if names else {}
