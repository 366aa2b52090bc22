"""Errors outside of any API view, such as an unknown path: JSON too, except for people in the admin."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import reverse
from django.views import defaults

from costtrack.dialects import OURS, Failure

_CODES = {400: "bad_request", 403: "forbidden", 404: "not_found", 500: "internal_error"}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_admin(request):
        return defaults.bad_request(request, exception)
    return _answer(HTTPStatus.BAD_REQUEST, "The request cannot be understood.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_admin(request):
        return defaults.permission_denied(request, exception)
    return _answer(HTTPStatus.FORBIDDEN, "You may not do this.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_admin(request):
        return defaults.page_not_found(request, exception)
    return _answer(HTTPStatus.NOT_FOUND, "Not found.")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django has logged the exception."""
    if _is_admin(request):
        return defaults.server_error(request)
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on our side.")


def _is_admin(request: HttpRequest) -> bool:
    return request.path.startswith(reverse("admin:index"))


def _answer(status: HTTPStatus, message: str) -> JsonResponse:
    failure = Failure(status, _CODES[status], message)
    return JsonResponse(OURS.body(failure), status=status)
