"""Response cache of GET endpoints: the same query on the same ledger state has the same response, and dashboards
repeat queries.

Each process has its own cache of responses with the ledger state they were made from, and reads the current state
from the database for each request. So the cache never hides acknowledged usage, whichever process accepted it. Use
it only for responses that depend on nothing but the query, the ledger and the prices of the organization, and the
history that its plan shows; not on the time of day or the caller.
"""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF, BYPASS, CACHE_HEADERS, CACHE_HIT
from billing.api.operations import Query, operation
from billing.reports.response_cache_redis import CachedResponse, ledger_state
from costtrack.clock import iso, utc_now
from costtrack.ignored_parameters import ignored_headers
from costtrack.renderers import JSONRenderer
from costtrack.revision_cache import RevisionCache
from organizations.api.base import OrganizationScopedAPIView
from organizations.models import Organization

MAX_BYTES = 32 * 1024 * 1024
MAX_BODY_BYTES = 256 * 1024

# What an entry takes besides its body: key, state, headers and objects. It also bounds the number of entries.
_ENTRY_BYTES = 2048

CacheKey = tuple[int, bytes]
_render = JSONRenderer().render


response_cache: RevisionCache[CacheKey, str, CachedResponse] = RevisionCache(
    MAX_BYTES,
    size_of=lambda response: len(response.body) + _ENTRY_BYTES,
    max_value_size=MAX_BODY_BYTES + _ENTRY_BYTES,
)
"""The cache of this process."""


def cache_key(organization: Organization, query: str) -> CacheKey:
    """Return a key of a constant size, however long the query is."""
    return organization.pk, hashlib.sha256(query.encode()).digest()


def bypasses_cache(request: Request) -> bool:
    return request.headers.get(BYPASS.name) in ("1", "true")


def cache_until_ledger_changes(get: Callable[..., Response]) -> Callable[..., HttpResponse]:
    """Decorate the `get` of a view. The `AS_OF` header is the time of the request also for a cached response, which
    is still current."""

    @wraps(get)
    def cached_get(view: OrganizationScopedAPIView, request: Request, **named: Any) -> HttpResponse:
        now = utc_now()
        slug, since = view.organization.slug, view.plan_rights.history_start(now)
        query = cache_key(view.organization, f"{slug} {request.get_full_path()} {since}")
        state = ledger_state(organization=view.organization)
        response = None if bypasses_cache(request) else response_cache.get(query, state)
        is_hit = response is not None
        if response is None:
            rendered = get(view, request, **named)
            own_headers = {**rendered.headers, **ignored_headers(request.query_params)}
            response = CachedResponse(state, _render(rendered.data), own_headers)
            response_cache.put(query, state, response)
        headers = {**response.headers, AS_OF.name: iso(now), CACHE_HIT.name: str(int(is_hit))}
        return HttpResponse(response.body, headers={**headers, "Content-Type": "application/json"})

    return cached_get


def cached_operation(
    operation_id: str, query: Query, responses: Any, *headers: OpenApiParameter
) -> Callable[[Callable[..., Response]], Callable[..., HttpResponse]]:
    """Declare an operation (`billing.api.operations`) with a response cache."""
    declared = operation(operation_id, query, responses, *CACHE_HEADERS, *headers)
    return lambda get: declared(cache_until_ledger_changes(get))
