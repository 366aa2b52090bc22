"""The product's routes, and the bare Django REST framework views of the baselines."""

import os
from decimal import Decimal

from django.db import connection
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from costtrack import urls

# `benchmarks.authorize` creates the table.
_SPEND = "UPDATE baseline_spend SET spent = spent + %s WHERE id = 1 AND spent + %s <= amount"


class BareView(APIView):
    """A view without authentication and queries."""

    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response({"ok": True})

    def post(self, request: Request) -> Response:
        return Response({"ok": True})


class SpendView(BareView):
    """The simplest possible spend limit: one row and one durable conditional UPDATE."""

    def post(self, request: Request) -> Response:
        amount = Decimal("0.01")
        with connection.cursor() as cursor:
            cursor.execute(_SPEND, [amount, amount])
            return Response({"ok": cursor.rowcount == 1})


class WorkerView(BareView):
    """Return the process id of the worker process."""

    def get(self, request: Request) -> Response:
        return Response({"pid": os.getpid()})


urlpatterns = [
    path("bare", BareView.as_view()),
    path("bare/spend", SpendView.as_view()),
    path("bare/worker", WorkerView.as_view()),
    *urls.urlpatterns,
]
