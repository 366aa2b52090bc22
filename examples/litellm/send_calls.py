"""Sends fifty calls through LiteLLM to costtrack, and compares their costs. README.md explains how to run it."""

import asyncio
import os
import secrets
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # LiteLLM's prices from its package, not the network

import httpx
import litellm
from calls import CALLS, PROMPT, RUNS, Call
from comparison import compare
from litellm.integrations.generic_api.generic_api_callback import GenericAPILogger
from litellm.litellm_core_utils.safe_json_dumps import safe_dumps

URL = os.environ.get("COSTTRACK_URL", "http://127.0.0.1:8000").rstrip("/")
ENDPOINT = "/integrations/litellm"
_SECONDS_FOR_LOGGING = 60


def main() -> int:
    """Run the example. Returns the exit code: 0 if everything adds up, 1 if something does not, 2 if costtrack is
    unreachable."""
    token = os.environ.get("COSTTRACK_TOKEN")
    if not token:
        print("COSTTRACK_TOKEN is not set: an API key with the scopes usage:write and costs:read.", file=sys.stderr)
        return 2
    job = f"example-{secrets.token_hex(4)}"
    with httpx.Client(base_url=URL, headers={"Authorization": f"Bearer {token}"}, timeout=30) as api:
        try:
            api.get("/usage/events", params={"limit": 1}).raise_for_status()
            faults = list(check(api, job, asyncio.run(send_calls(job, token))))
        except httpx.HTTPError as error:
            print(f"unexpected response from costtrack: {error}", file=sys.stderr)
            return 2
    for fault in faults:
        print(f"WRONG: {fault}", file=sys.stderr)
    print("Everything adds up." if not faults else "Something does not add up.")
    return 1 if faults else 0


async def send_calls(job: str, token: str) -> list[dict[str, Any]]:
    """Make the calls, send them with LiteLLM's own logger, and return the payloads."""
    logger = GenericAPILogger(
        endpoint=f"{URL}{ENDPOINT}",
        headers={"Authorization": f"Bearer {token}"},
        flush_interval=3600,  # this script sends the batch itself, to see what is in it
    )
    litellm.callbacks = [logger]
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True
    calls = [call for call in CALLS for _ in range(call.times)]
    for call in calls:
        await make_call(call, job)
    async with asyncio.timeout(_SECONDS_FOR_LOGGING):
        while len(logger.log_queue) < len(calls):  # noqa: ASYNC110 - LiteLLM has no signal for it
            await asyncio.sleep(0.05)
    payloads = list(logger.log_queue)
    await logger.async_send_batch()
    print(f"{len(payloads)} calls in {len(RUNS)} runs of {run_id(job, 'job')} sent to {URL}{ENDPOINT}")
    return payloads


async def make_call(call: Call, job: str) -> None:
    parent = RUNS[call.run]
    metadata = {
        "tags": ["example:litellm", f"step:{call.run}"],
        "spend_logs_metadata": {
            "run_id": run_id(job, call.run),
            "workflow_id": "litellm-example",
            **({"parent_run_id": run_id(job, parent)} if parent else {}),
        },
    }
    try:
        response = await litellm.acompletion(
            model=call.model,
            messages=[{"role": "user", "content": PROMPT}],
            mock_response=call.answer(),
            stream=call.stream,
            metadata=metadata,
        )
        if call.stream:
            async for _ in response:
                pass
    except litellm.RateLimitError:
        if not call.fails_with:
            raise


def run_id(job: str, name: str) -> str:
    return f"{job}/{name}"


def check(api: httpx.Client, job: str, payloads: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each problem."""
    events = ledger_rows(api, job)
    yield from check_once(payloads, events)
    again = api.post(ENDPOINT, content=safe_dumps(payloads)).raise_for_status().json()
    print(f"The same batch again: {again['accepted']} accepted, {again['duplicates']} duplicates")
    if again["duplicates"] != len(payloads) or ledger_rows(api, job) != events:
        yield f"sent again, the batch was not all duplicates: {again}"
    yield from check_costs(api, job, payloads, events)
    yield from compare(api, payloads, events)


def check_once(payloads: list[dict[str, Any]], events: list[dict[str, Any]]) -> Iterator[str]:
    """Check that every call is in the ledger exactly once."""
    sent = sorted(payload["id"] for payload in payloads)
    stored = sorted(event["request_id"] for event in events)
    if sent != stored:
        yield f"{len(sent)} calls were made and {len(stored)} are in the ledger"


def check_costs(
    api: httpx.Client, job: str, payloads: list[dict[str, Any]], events: list[dict[str, Any]]
) -> Iterator[str]:
    """Check that each call has LiteLLM's estimate beside its cost, and that the total of the run with its children is
    the sum of the costs."""
    estimates = {payload["id"]: Decimal(repr(payload["response_cost"])) for payload in payloads if has_price(payload)}
    stored = {
        event["request_id"]: Decimal(event["gateway_cost_usd"])
        for event in events
        if event["gateway_cost_usd"] is not None
    }
    if stored != estimates:
        yield f"the stored estimates differ from LiteLLM's: {stored.items() ^ estimates.items()}"
    costs = [Decimal(event["cost_usd"]) for event in events if event["cost_usd"] is not None]
    answer = api.get(f"/costs/runs/{run_id(job, 'job')}", params={"include_children": "true"}).raise_for_status()
    total, unpriced = answer.json()["total_cost"], int(answer.headers["X-Costtrack-Unpriced-Events"])
    expected = sum(costs, Decimal(0))
    print(f"Sum of LiteLLM's estimates:      {sum(estimates.values(), Decimal(0)):f} USD")
    print(f"Sum of the costs in the ledger:  {expected:f} USD")
    print(f"/costs/runs with all children:   {total} USD (rounded to 10 decimals), {unpriced} calls without a price")
    if total != float(round(expected, 10)):
        yield f"the run's total is {total} instead of {expected}"
    if unpriced != len(events) - len(costs):
        yield f"{unpriced} calls have no price instead of {len(events) - len(costs)}"


def has_price(payload: dict[str, Any]) -> bool:
    """Whether LiteLLM has a price. Otherwise it reports a cost of 0, with an explanation in another field."""
    return not payload["response_cost_failure_debug_info"]


def ledger_rows(api: httpx.Client, job: str) -> list[dict[str, Any]]:
    """Return all rows of the job's runs, page by page."""
    rows: list[dict[str, Any]] = []
    for name in RUNS:
        cursor = ""
        while cursor is not None:
            query = {"run_id": run_id(job, name), "limit": 20, "cursor": cursor}
            page = api.get("/usage/events", params={key: value for key, value in query.items() if value})
            rows += page.raise_for_status().json()["results"]
            cursor = page.json()["next_cursor"]
    return rows


if __name__ == "__main__":
    sys.exit(main())
