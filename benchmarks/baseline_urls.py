"""The product's routes, and the bare Django REST framework views it is compared with."""

import os
from decimal import Decimal

from django.db import connection
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from costtrack import urls

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


class WorkerView(BareView):
    """Which of the server's processes answers."""

    def get(self, request: Request) -> Response:
        return Response({"pid": os.getpid()})


urlpatterns = [
    path("bare", BareView.as_view()),
    path("bare/spend", SpendView.as_view()),
    path("bare/worker", WorkerView.as_view()),
    *urls.urlpatterns,
]
