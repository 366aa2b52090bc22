"""Counts the buffers (pages of 8 kB) of PostgreSQL that the statements of this process touch, found in memory or not.

Each SELECT of the product's tables is also explained. So the counts do not depend on the machine or its load.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from psycopg import sql

_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "
_SELECT = re.compile(r"\s*(SELECT|WITH)\b")


class Touched:
    """`buffers` and `statements` are the sums of all statements so far."""

    def __init__(self) -> None:
        self.buffers = 0
        self.statements = 0

    def __call__(self, execute: Any, statement: Any, parameters: Any, many: Any, context: Any) -> Any:
        text = statement if isinstance(statement, str) else statement.as_string(context["connection"].connection)
        if "billing_" in text and _SELECT.match(text) and "FOR UPDATE" not in text:
            explained = _EXPLAIN + statement if isinstance(statement, str) else sql.SQL(_EXPLAIN) + statement
            execute(explained, parameters, many, context)
            (output,) = context["cursor"].fetchone()
            plan = (json.loads(output) if isinstance(output, str) else output)[0]["Plan"]
            self.buffers += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
            self.statements += 1
        return execute(statement, parameters, many, context)


@contextmanager
def touched() -> Iterator[Touched]:
    counter = Touched()
    with connection.execute_wrapper(counter):
        yield counter
