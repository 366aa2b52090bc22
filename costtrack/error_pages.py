"""Errors outside of any API view, such as an unknown path: JSON too, except for people in the admin. What begins like
a family's paths is answered in its dialect."""

from collections.abc import Iterable, Iterator
from functools import cache
from http import HTTPStatus

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.views import defaults

from costtrack.dialects import OURS, Dialect, Failure

_CODES = {400: "bad_request", 403: "forbidden", 404: "not_found", 500: "internal_error"}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_admin(request):
        return defaults.bad_request(request, exception)
    return _answer(request, HTTPStatus.BAD_REQUEST, "The request cannot be understood.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_admin(request):
        return defaults.permission_denied(request, exception)
    return _answer(request, HTTPStatus.FORBIDDEN, "You may not do this.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_admin(request):
        return defaults.page_not_found(request, exception)
    return _answer(request, HTTPStatus.NOT_FOUND, "Not found.")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django has logged the exception."""
    if _is_admin(request):
        return defaults.server_error(request)
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on our side.")


def _is_admin(request: HttpRequest) -> bool:
    return request.path.startswith(reverse("admin:index"))


def _answer(request: HttpRequest, status: HTTPStatus, message: str) -> JsonResponse:
    failure = Failure(status, _CODES[status], message)
    dialect = _dialects().get(_first_word(request.path), OURS)
    return JsonResponse(dialect.body(failure), status=status)


@cache
def _dialects() -> dict[str, Dialect]:
    """Each family's, by the first word of its paths."""
    return dict(_dialects_of(get_resolver().url_patterns))


def _dialects_of(patterns: Iterable[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, Dialect]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _dialects_of(pattern.url_patterns, route)
        elif (dialect := getattr(getattr(pattern.callback, "cls", None), "dialect", None)) is not None:
            yield _first_word(route), dialect


def _first_word(path: str) -> str:
    return path.lstrip("/").partition("/")[0]
