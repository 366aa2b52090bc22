"""Run a query."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection
from psycopg import sql


def fetch_rows(
    query: str | sql.Composable, parameters: Mapping[str, Any] | Sequence[Any] | None = None
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())
