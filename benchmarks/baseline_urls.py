"""The product's routes, and the bare Django REST framework views it is compared with."""

import os
from decimal import Decimal

from django.db import connection
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from costtrack import urls
from costtrack.clock import utc_now
from costtrack.ids import new_id

# `benchmarks.intake` makes the table.
_EVENT = """
INSERT INTO baseline_event (id, organization_id, source, event_id, kind, occurred_at, received_at, duration_ms,
    service, model, run_id, session_id, user_ref, tags, input_tokens, output_tokens, cache_read_tokens, requests, turns,
    token_cost_usd, cost_source, cost_basis, price_version_id)
VALUES (%s, 1, 'api', %s, 'model_call', now(), now(), 1234, 'openai', 'gpt-4o', 'run-1', 'session-1', 'user-1',
    '{team:a,env:prod}', 1200, 300, 100, 1, 1, 0.006125, 'computed', 'computed', 1)
"""
# `benchmarks.authorize` makes the table.
_SPEND = "UPDATE baseline_spend SET spent = spent + %s WHERE id = 1 AND spent + %s <= amount"


class BareView(APIView):
    """Nobody is asked who they are, and nothing is looked up."""

    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response({"ok": True})

    def post(self, request: Request) -> Response:
        return Response({"ok": True})


class SpendView(BareView):
    """A spend limit in its least form: one row, one conditional UPDATE, durable."""

    def post(self, request: Request) -> Response:
        amount = Decimal("0.01")
        with connection.cursor() as cursor:
            cursor.execute(_SPEND, [amount, amount])
            return Response({"ok": cursor.rowcount == 1})


class EventView(BareView):
    """A view that commits one row, without authentication, validation and pricing."""

    def post(self, request: Request) -> Response:
        event_id = new_id(utc_now())
        with connection.cursor() as cursor:
            cursor.execute(_EVENT, [event_id, str(event_id)])
        return Response({"ok": True})


class WorkerView(BareView):
    """Which of the server's processes answers."""

    def get(self, request: Request) -> Response:
        return Response({"pid": os.getpid()})


urlpatterns = [
    path("bare", BareView.as_view()),
    path("bare/spend", SpendView.as_view()),
    path("bare/event", EventView.as_view()),
    path("bare/worker", WorkerView.as_view()),
    *urls.urlpatterns,
]
