"""Answers that are not made anew while nothing has changed: the same question about the same state of the ledger has
the same answer, and dashboards ask the same again and again.

Each process keeps its own, with the state that they are of, and asks the database for the state each time: so an answer
never hides what was acknowledged, whichever process took it in. For answers that depend on nothing but the question,
the organization's ledger and its prices; not on the time of day, and not on who asks.
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
from billing.reports.response_cache_redis import Answer, ledger_state
from costtrack.clock import iso, utc_now
from costtrack.renderers import JSONRenderer
from organizations.api.base import OrganizationScopedAPIView

MAX_BYTES = 32 * 1024 * 1024
LARGEST = 256 * 1024

Question = tuple[int, str]
_render = JSONRenderer().render


class ResponseCache:
    """Bounded; the least recently used are given up first. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Question, Answer] = OrderedDict()
        self._bytes = 0

    def get(self, query: Question, state: str) -> Answer | None:
        with self._lock:
            answer = self._kept.get(query)
            if answer is None or answer.state != state:
                return None
            self._kept.move_to_end(query)
            return answer

    def keep(self, query: Question, answer: Answer) -> None:
        if len(answer.body) > LARGEST:
            return
        with self._lock:
            self._forget(self._kept.pop(query, None))
            self._kept[query] = answer
            self._bytes += len(answer.body)
            while self._bytes > MAX_BYTES:
                self._forget(self._kept.popitem(last=False)[1])

    def _forget(self, answer: Answer | None) -> None:
        self._bytes -= len(answer.body) if answer is not None else 0


answers = ResponseCache()
"""Of this process."""


def bypasses_cache(request: Request) -> bool:
    return request.headers.get(BYPASS.name) in ("1", "true")


def cache_until_ledger_changes(get: Callable[..., Response]) -> Callable[..., HttpResponse]:
    """For the `get` of a view. Its `AS_OF` header, if it has one, is the time of the request also when the answer was
    kept: what held then holds still."""

    @wraps(get)
    def answered(view: OrganizationScopedAPIView, request: Request, **named: Any) -> HttpResponse:
        now, query = utc_now(), (view.organization.pk, request.get_full_path())
        state = ledger_state(organization=view.organization)
        answer = None if bypasses_cache(request) else answers.get(query, state)
        is_hit = answer is not None
        if answer is None:
            made = get(view, request, **named)
            answer = Answer(state, _render(made.data), dict(made.headers))
            answers.keep(query, answer)
        headers = {**answer.headers, AS_OF.name: iso(now), CACHE_HIT.name: str(int(is_hit))}
        return HttpResponse(answer.body, headers={**headers, "Content-Type": "application/json"})

    return answered
