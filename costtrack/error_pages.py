"""Errors outside of API views, such as an unknown path: a page for browsers, JSON for programs. Paths that start like
those of an API family get errors in its dialect."""

import sys
from collections.abc import Iterable, Iterator
from functools import cache
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from costtrack.error_formats import DATABASE_UNAVAILABLE, NATIVE, QUERY_TIMEOUT, Dialect, Failure, database_failure
from costtrack.organization_paths import installation_url, sign_in_url

_CODES = {400: "bad_request", 403: "forbidden", 404: "not_found", 500: "internal_error"}
_TITLES: dict[int | str, str] = {
    400: "Bad request",
    403: "Access denied",
    404: "Page not found",
    500: "Something went wrong on our side",
    QUERY_TIMEOUT.code: "The request took too long",
    DATABASE_UNAVAILABLE.code: "The database is unavailable",
}
_ADVICE: dict[int | str, str] = {
    400: "Go back and try again. If you typed the URL, check it.",
    403: "Ask an owner of the organization for access, or sign in with another account.",
    404: "The URL is wrong, the page was removed, or it belongs to an organization that you are not a member of.",
    500: "Try again in a moment. If the problem persists, contact your administrator, who can find details in the log.",
    QUERY_TIMEOUT.code: "The query took too long and was canceled. Try again in a moment, or choose a shorter period.",
    DATABASE_UNAVAILABLE.code: "Try again in a moment. If the problem persists, contact your administrator.",
}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:  # noqa: ARG001 - Django names it
    return _answer(request, HTTPStatus.BAD_REQUEST, "The request is malformed.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Show the reason, if the exception has one."""
    reason = str(exception)
    message = reason or "You do not have permission to do this."
    return _answer(request, HTTPStatus.FORBIDDEN, message, advice=reason)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:  # noqa: ARG001 - Django names it
    return _answer(request, HTTPStatus.NOT_FOUND, "Not found.")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Render a 500, or a 503 if the database failed. Django has already logged the exception."""
    error = sys.exception()  # raised in a page or a middleware; API views handle theirs
    if isinstance(error, OperationalError | InterfaceError):
        return _unavailable(request, database_failure(error))
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on our side.")


def query_timeout(request: HttpRequest) -> HttpResponseBase:
    return _unavailable(request, QUERY_TIMEOUT)


def _unavailable(request: HttpRequest, failure: Failure) -> HttpResponseBase:
    response = _answer(request, HTTPStatus.SERVICE_UNAVAILABLE, failure.message, code=failure.code)
    for name, value in failure.headers.items():
        response.headers[name] = value
    return response


def dialect_of_path(path: str) -> Dialect:
    """Return the error format of the API family that a path belongs to, for errors without a view."""
    return _dialects().get(_first_segment(path), NATIVE)


def _answer(
    request: HttpRequest, status: HTTPStatus, message: str, *, advice: str = "", code: str = ""
) -> HttpResponse:
    """`code` is that of the error if the status has several."""
    dialect = _dialects().get(_first_segment(request.path))
    if dialect is None and _wants_page(request):
        kind = code or status
        texts = {"title": _TITLES[kind], "text": advice or _ADVICE[kind], "status": status.value}
        return HttpResponse(
            render_to_string("error.html", {**texts, "overview_url": installation_url("index")}), status=status
        )
    failure = Failure(status, code or _CODES[status], message)
    return JsonResponse((dialect or NATIVE).body(failure), status=status)


def _wants_page(request: HttpRequest) -> bool:
    """Whether to respond with a page: for paths of the web UI, and for browsers, which list HTML in `Accept`."""
    pages = (reverse("admin:index"), sign_in_url("account_login").removesuffix("login"))
    return request.path.startswith(pages) or "text/html" in request.headers.get("Accept", "")


@cache
def _dialects() -> dict[str, Dialect]:
    """Return the dialect of each family by the first segment of its paths."""
    return dict(_dialects_of(get_resolver().url_patterns))


def _dialects_of(patterns: Iterable[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, Dialect]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _dialects_of(pattern.url_patterns, route)
        elif (dialect := getattr(getattr(pattern.callback, "cls", None), "dialect", None)) is not None:
            yield _first_segment(route), dialect


def _first_segment(path: str) -> str:
    return path.lstrip("/").partition("/")[0]
