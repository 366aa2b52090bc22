"""A client of a gateway as a separate program, which may be killed at any time and restarted.

    python gateway_client.py <url> <api key> <journal> <calls as JSON>

Each call is a list: its name and its cost. The client requests an authorization, makes the call (a line in the journal)
and sends the event. Restarted, it repeats all of that with the same names. Each step is printed before it is taken.
"""

import json
import ssl
import sys
import time
from pathlib import Path

import httpx

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # as `tests.plain_http`, which this program cannot import


def main(url: str, api_key: str, journal: str, calls: str) -> None:
    path = Path(journal)
    made = set(path.read_text().split()) if path.exists() else set()
    with (
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {api_key}"}, timeout=30, verify=NO_TLS) as client,
        path.open("a") as journal_file,
    ):
        for name, cost in json.loads(calls):
            print_step("authorize", name)
            body = {"estimated_cost_usd": cost, "idempotency_key": name, "ttl_seconds": 3600}
            answer = retry_until_answered(client, "/usage/authorizations", body)
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                continue
            print_step("call", name)
            if name not in made:
                journal_file.write(f"{name}\n")
                journal_file.flush()
            print_step("settle", name)
            event = {"id": name, "cost_usd": cost, "authorization_id": answer.json()["id"]}
            retry_until_answered(client, "/usage/events", event)
    print_step("done", "")


def retry_until_answered(client: httpx.Client, path: str, body: dict[str, str]) -> httpx.Response:
    """Retry until the server responds; it may be killed and restarted on the same address."""
    while True:
        try:
            answer = client.post(path, json=body)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            check_status(answer)
            return answer


def check_status(answer: httpx.Response) -> None:
    known = (httpx.codes.OK, httpx.codes.CREATED, httpx.codes.TOO_MANY_REQUESTS)
    if answer.status_code not in known:
        raise SystemExit(f"{answer.status_code} {answer.text}")


def print_step(step: str, name: str) -> None:
    print(f"{step} {name}", flush=True)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
