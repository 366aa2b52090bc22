"""A client of a gateway as a separate program, which may be killed at any time and restarted.

    python gateway_client.py <url> <api key> <journal> <calls as JSON>

Each call is a list: its name and its cost. The client requests an authorization, makes the call (a line in the journal)
and sends the event. Restarted, it repeats all of that with the same names. Each step is printed before it is taken.
"""

import json
import sys
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

# Only the standard library: the tests start this program dozens of times, and most of it would be to load others.


def main(url: str, api_key: str, journal: str, calls: str) -> None:
    path = Path(journal)
    made = set(path.read_text().split()) if path.exists() else set()
    gateway = Gateway(url, api_key)
    with path.open("a") as journal_file:
        for name, cost in json.loads(calls):
            print_step("authorize", name)
            body = {"estimated_cost_usd": cost, "idempotency_key": name, "ttl_seconds": 3600}
            status, answer = gateway.retry_until_answered("/usage/authorizations", body)
            if status == HTTPStatus.TOO_MANY_REQUESTS:
                continue
            print_step("call", name)
            if name not in made:
                journal_file.write(f"{name}\n")
                journal_file.flush()
            print_step("settle", name)
            event = {"id": name, "cost_usd": cost, "authorization_id": json.loads(answer)["id"]}
            gateway.retry_until_answered("/usage/events", event)
    print_step("done", "")


class Gateway:
    """A connection to costtrack that is opened again when it breaks."""

    def __init__(self, url: str, api_key: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}

    def retry_until_answered(self, path: str, body: dict[str, str]) -> tuple[int, bytes]:
        """Retry until the server responds; it may be killed and restarted on the same address."""
        while True:
            try:
                self._connection.request("POST", path, json.dumps(body), self._headers)
                response = self._connection.getresponse()
                status, answer = response.status, response.read()
            except (OSError, HTTPException):
                self._connection.close()
                time.sleep(0.05)
                continue
            if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                check_status(status, answer)
                return status, answer


def check_status(status: int, answer: bytes) -> None:
    if status not in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.TOO_MANY_REQUESTS):
        raise SystemExit(f"{status} {answer.decode()}")


def print_step(step: str, name: str) -> None:
    print(f"{step} {name}", flush=True)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
