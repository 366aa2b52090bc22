"""A gateway's client as a program of its own, which may be killed at any instant and started again.

    python gateway_client.py <url> <api key> <journal> <calls as JSON>

Each call is a list: its name and what it costs. It asks, makes the call (which is a line in the journal: the money is
spent), and tells. Started again, it does all of that once more under the same names. Every step is told on stdout
before it is taken.
"""

import json
import sys
import time
from pathlib import Path

import httpx


def main(url: str, api_key: str, journal: str, calls: str) -> None:
    path = Path(journal)
    made = set(path.read_text().split()) if path.exists() else set()
    with (
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {api_key}"}, timeout=30) as client,
        path.open("a") as journal_file,
    ):
        for name, cost in json.loads(calls):
            say("authorize", name)
            body = {"estimated_cost_usd": cost, "idempotency_key": name, "ttl_seconds": 3600}
            answer = insist(client, "/usage/authorizations", body)
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                continue
            say("call", name)
            if name not in made:
                journal_file.write(f"{name}\n")
                journal_file.flush()
            say("settle", name)
            told = {"id": name, "cost_usd": cost, "authorization_id": answer.json()["id"]}
            insist(client, "/usage/events", told)
    say("done", "")


def insist(client: httpx.Client, path: str, body: dict[str, str]) -> httpx.Response:
    """Until the server answers: it may be killed and come back on the same address."""
    while True:
        try:
            answer = client.post(path, json=body)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            answer_is_known(answer)
            return answer


def answer_is_known(answer: httpx.Response) -> None:
    known = (httpx.codes.OK, httpx.codes.CREATED, httpx.codes.TOO_MANY_REQUESTS)
    if answer.status_code not in known:
        raise SystemExit(f"{answer.status_code} {answer.text}")


def say(step: str, name: str) -> None:
    print(f"{step} {name}", flush=True)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
