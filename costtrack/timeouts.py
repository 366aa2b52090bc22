"""Statement timeouts of requests.

Inside `statement_timeout` PostgreSQL cancels a statement that runs longer, including lock waits. The request then gets
a 503 (`costtrack.error_formats`, `costtrack.error_pages`). Workers and commands have no timeout.

The setting is local to a transaction and is sent with its first statement, so it costs no round trip, and a transaction
pooler cannot leak it to another client.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError, connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from psycopg.errors import QueryCanceled
from psycopg.pq import TransactionStatus

from costtrack.database.local_settings import execute_with

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Timeout:
    milliseconds: int
    is_set: bool = False
    """Whether it is set in the current transaction."""


_timeout: ContextVar[_Timeout | None] = ContextVar("costtrack_statement_timeout", default=None)


@contextmanager
def statement_timeout(seconds: float) -> Iterator[None]:
    """Limit each statement inside to this many seconds; 0 means no limit. An inner limit replaces the outer one until
    it ends, even in an open transaction."""
    outer = _timeout.get()
    token = _timeout.set(_Timeout(round(seconds * 1000)))
    try:
        if outer is None:
            with connection.execute_wrapper(_set_before):
                yield
        else:
            yield
    finally:
        _timeout.reset(token)
        if outer is not None:
            outer.is_set = False


def _set_before(execute: Callable[..., Any], statement: Any, parameters: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
    timeout = _timeout.get()
    status = context["connection"].connection.info.transaction_status
    is_beginning = status == TransactionStatus.IDLE
    if timeout is None or not (is_beginning or (status == TransactionStatus.INTRANS and not timeout.is_set)):
        return execute(statement, parameters, many, context)
    settings = [f"SET LOCAL statement_timeout = {timeout.milliseconds}"]
    result = execute_with(settings, execute, statement, parameters, many=many, context=context)
    timeout.is_set = True
    return result


def is_query_timeout(error: BaseException | None) -> bool:
    """Whether PostgreSQL canceled the statement because of the timeout."""
    return isinstance(error, OperationalError) and isinstance(error.__cause__, QueryCanceled)


def log_query_timeout(request: HttpRequest, response: HttpResponseBase) -> None:
    """Log one line with the route, instead of the error that Django logs for each 5xx response."""
    match = request.resolver_match
    log_canceled_query(method=str(request.method), route=f"/{match.route}" if match is not None else "")
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001 - as `django.utils.log` does


def log_canceled_query(**where: str) -> None:
    logger.warning("query canceled, it took too long", extra=where)
