"""Errors outside of any API view, such as an unknown path: a page for people, JSON for programs. What begins like a
family's paths is answered in its dialect, whoever asks."""

import sys
from collections.abc import Iterable, Iterator
from functools import cache
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from costtrack.error_formats import NATIVE, QUERY_TIMEOUT, Dialect, Failure
from costtrack.organization_paths import for_installation, for_sign_in
from costtrack.timeouts import is_query_timeout

_CODES = {400: "bad_request", 403: "forbidden", 404: "not_found", 500: "internal_error", 503: QUERY_TIMEOUT.code}
_TITLES = {
    400: "This request cannot be understood",
    403: "This is not for you to see",
    404: "There is no such page",
    500: "Something went wrong on our side",
    503: "This took too long",
}
_WHAT_TO_DO = {
    400: "Go back and try again. If you have typed the address, look at it once more.",
    403: "Ask an owner of the organization for the role that this needs, or sign in with another account.",
    404: "The address is wrong, what it showed is gone, or it belongs to an organization that you are no member of.",
    500: "Try again in a moment. If it stays, tell whoever runs this installation; the log says what happened.",
    503: "The database took too long, and the query was canceled. Try again in a moment, or choose a shorter period.",
}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:  # noqa: ARG001 - Django names it
    return _answer(request, HTTPStatus.BAD_REQUEST, "The request cannot be understood.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:  # noqa: ARG001 - Django names it
    return _answer(request, HTTPStatus.FORBIDDEN, "You may not do this.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:  # noqa: ARG001 - Django names it
    return _answer(request, HTTPStatus.NOT_FOUND, "Not found.")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django has logged the exception."""
    if is_query_timeout(sys.exception()):  # of a middleware: those of views are answered before
        return query_timeout(request)
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on our side.")


def query_timeout(request: HttpRequest) -> HttpResponseBase:
    response = _answer(request, HTTPStatus(QUERY_TIMEOUT.status), QUERY_TIMEOUT.message)
    for name, value in QUERY_TIMEOUT.headers.items():
        response.headers[name] = value
    return response


def _answer(request: HttpRequest, status: HTTPStatus, message: str) -> HttpResponse:
    dialect = _dialects().get(_first_word(request.path))
    if dialect is None and _is_for_people(request):
        texts = {"title": _TITLES[status], "text": _WHAT_TO_DO[status], "status": status.value}
        return HttpResponse(
            render_to_string("error.html", {**texts, "overview_url": for_installation("index")}), status=status
        )
    failure = Failure(status, _CODES[status], message)
    return JsonResponse((dialect or NATIVE).body(failure), status=status)


def _is_for_people(request: HttpRequest) -> bool:
    """The pages' own addresses, and whatever a browser asks for: it names pages, programs take anything."""
    pages = (reverse("admin:index"), for_sign_in("account_login").removesuffix("login"))
    return request.path.startswith(pages) or "text/html" in request.headers.get("Accept", "")


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
