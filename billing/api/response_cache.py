"""Response cache of GET endpoints: the same query on the same ledger state has the same response, and dashboards
repeat queries.

Each process has its own cache of responses with the ledger state they were made from, and reads the current state
from the database for each request. So the cache never hides acknowledged usage, whichever process accepted it. Use
it only for responses that depend on nothing but the query, the ledger and the prices of the organization; not on the
time of day or the caller.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF, BYPASS, CACHE_HIT
from billing.reports.response_cache_redis import CachedResponse, ledger_state
from costtrack.clock import iso, utc_now
from costtrack.renderers import JSONRenderer
from organizations.api.base import OrganizationScopedAPIView

MAX_BYTES = 32 * 1024 * 1024
MAX_BODY_BYTES = 256 * 1024

CacheKey = tuple[int, str]
_render = JSONRenderer().render


class ResponseCache:
    """A bounded, thread-safe LRU cache."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._responses: OrderedDict[CacheKey, CachedResponse] = OrderedDict()
        self._bytes = 0

    def get(self, query: CacheKey, state: str) -> CachedResponse | None:
        with self._lock:
            response = self._responses.get(query)
            if response is None or response.state != state:
                return None
            self._responses.move_to_end(query)
            return response

    def put(self, query: CacheKey, response: CachedResponse) -> None:
        if len(response.body) > MAX_BODY_BYTES:
            return
        with self._lock:
            self._subtract(self._responses.pop(query, None))
            self._responses[query] = response
            self._bytes += len(response.body)
            while self._bytes > MAX_BYTES:
                self._subtract(self._responses.popitem(last=False)[1])

    def _subtract(self, response: CachedResponse | None) -> None:
        self._bytes -= len(response.body) if response is not None else 0


response_cache = ResponseCache()
"""The cache of this process."""


def bypasses_cache(request: Request) -> bool:
    return request.headers.get(BYPASS.name) in ("1", "true")


def cache_until_ledger_changes(get: Callable[..., Response]) -> Callable[..., HttpResponse]:
    """Decorate the `get` of a view. The `AS_OF` header is the time of the request also for a cached response, which
    is still current."""

    @wraps(get)
    def cached_get(view: OrganizationScopedAPIView, request: Request, **named: Any) -> HttpResponse:
        now, query = utc_now(), (view.organization.pk, request.get_full_path())
        state = ledger_state(organization=view.organization)
        response = None if bypasses_cache(request) else response_cache.get(query, state)
        is_hit = response is not None
        if response is None:
            rendered = get(view, request, **named)
            response = CachedResponse(state, _render(rendered.data), dict(rendered.headers))
            response_cache.put(query, response)
        headers = {**response.headers, AS_OF.name: iso(now), CACHE_HIT.name: str(int(is_hit))}
        return HttpResponse(response.body, headers={**headers, "Content-Type": "application/json"})

    return cached_get
