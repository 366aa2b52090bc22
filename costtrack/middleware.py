"""What every request has: an id, in the log, in the answer, and in nobody else's log lines; and a limit to how long its
statements run in the database."""

import logging
import re
import secrets
import time
from collections.abc import Callable

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from costtrack import error_pages
from costtrack.secret_links import has_secret, path_for_logs
from costtrack.timeouts import is_query_timeout, log_query_timeout, statement_timeout

logger = logging.getLogger("costtrack.request")

_ACCEPTABLE_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_QUIET = ("/healthz", "/readyz", "/static/")
# Without the path, which may be a secret, and with what Django checks a form's sender by.
_REFERRER_POLICY = "strict-origin"


class RequestContextMiddleware:
    """Takes `X-Request-Id` (or makes one), binds it for all log lines, returns it, and logs each request once."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _ACCEPTABLE_ID.match(given) else secrets.token_hex(8)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        if has_secret(request.path):
            response["Referrer-Policy"] = _REFERRER_POLICY
        if not request.path.startswith(_QUIET):
            # Without the query string, which may hold a credential, and without the secret of a link.
            logger.info(
                "request",
                extra={
                    "method": request.method,
                    "path": path_for_logs(request),
                    "status": response.status_code,
                    "milliseconds": round((time.perf_counter() - started) * 1000, 1),
                },
            )
        return response


class StatementTimeoutMiddleware:
    """Limits each statement of a request, and answers 503 when a page's query was canceled. (API views answer in their
    dialect.)"""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with statement_timeout(settings.STATEMENT_TIMEOUT):
            return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if not is_query_timeout(exception):
            return None
        response = error_pages.query_timeout(request)
        log_query_timeout(request, response)
        return response
