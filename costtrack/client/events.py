"""`costtrack events send FILE`: send usage events from a file or a folder of transcripts. `costtrack events read` reads
the database (`costtrack.cli`)."""

import argparse
import json
import sys
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from costtrack.client.errors import ClientError, ExitCode
from costtrack.client.instance import find_instance
from costtrack.client.options import Subparsers, add_command, add_group, bounded_integer, file_path
from costtrack.client.terminal import complain, say

if TYPE_CHECKING:
    from costtrack.client.event_source import EventSource
    from costtrack.client.send_state import SendState, Totals
    from costtrack.event_files import ReadOptions

_MAX_EVENTS = 10_000  # the server's bound for one request
_MAX_RETRIES = 1_000
_PREVIEWED = 5


def add_to(commands: Subparsers) -> Subparsers:
    """Add the commands, and return their group."""
    events = add_group(commands, "events", "send and read usage events")
    send = add_command(events, "send", _send, "send a file of usage, or resume an interrupted one")
    send.add_argument(
        "file",
        type=file_path,
        metavar="FILE",
        help="JSON events, CSV, Parquet, LiteLLM's spend logs, a usage export of OpenAI or Anthropic, a transcript of "
        "Claude Code or Codex, each also as gzip; or a folder of transcripts; - is stdin",
    )
    send.add_argument(
        "--batch-size",
        type=partial(bounded_integer, lowest=1, highest=_MAX_EVENTS),
        default=1_000,
        metavar="N",
        help="events in one request (default: %(default)s)",
    )
    send.add_argument(
        "--retries",
        type=partial(bounded_integer, lowest=0, highest=_MAX_RETRIES),
        default=6,
        metavar="N",
        help="retries when the server is busy or unavailable (default: %(default)s)",
    )
    send.add_argument("--restart", action="store_true", help="send the file from its start again")
    send.add_argument(
        "--map",
        action="append",
        type=_assignment,
        default=[],
        metavar="COLUMN=FIELD",
        help="the field of an event that a column of a table is; COLUMN= ignores the column",
    )
    send.add_argument(
        "--set",
        action="append",
        type=_assignment,
        default=[],
        metavar="FIELD=VALUE",
        help="a field of all records that have none, for example user_id=jane",
    )
    checks = send.add_mutually_exclusive_group()
    checks.add_argument("--preview", action="store_true", help="show how the file is read, and send nothing")
    checks.add_argument("--dry-run", action="store_true", help="show what the server would store, and store nothing")
    return events


def _assignment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _send(options: argparse.Namespace) -> int:
    from costtrack.client.event_source import open_source
    from costtrack.client.send_state import SendState

    read_options = _read_options(options)
    if options.preview:
        with open_source(options.file, read_options) as file:
            return _preview(file)
    instance = find_instance(options)
    with open_source(options.file, read_options) as file:
        if options.dry_run:
            return _dry_run(options, file)
        state = SendState.of(file.state_key, instance)
        if options.restart:
            state.restart()
        if state.totals.events:
            complain(f"resuming after {state.totals.events:,} of {file.count:,} events")
        errors: list[dict[str, Any]] = []
        try:
            totals = _deliver(options, file, state, errors)
        except (ClientError, KeyboardInterrupt):
            if state.totals.events:
                done = f"{state.totals.events:,} of {file.count:,} events are acknowledged"
                complain(f"{done}; run the same command again to continue")
            raise
    if options.json:
        sys.stdout.write(json.dumps({**asdict(totals), "errors": errors}) + "\n")
    else:
        say(_result(totals))
    return ExitCode.OK if totals.is_complete else ExitCode.REFUSED


def _read_options(options: argparse.Namespace) -> "ReadOptions":
    from costtrack.client.errors import WrongArgumentsError
    from costtrack.event_files import ReadOptions
    from costtrack.event_files.columns import FIELDS

    for name, _ in options.set:
        if name not in FIELDS:
            raise WrongArgumentsError(f"--set: {name!r} is not a field of an event")
    return ReadOptions(columns=dict(options.map), defaults=dict(options.set))


def _preview(file: "EventSource") -> int:
    say(f"{file.format.label}, {file.count:,} {'event' if file.count == 1 else 'events'}")
    for column in file.columns:
        say(f"  {column.name}: {column.field or 'ignored'}")
    for record in islice(file.records(after=0), _PREVIEWED):
        say(f"{record.location}: {record.fault or record.json.decode(errors='replace')}")
    return ExitCode.OK


class _Estimate:
    """The sums of the responses of a dry run."""

    def __init__(self) -> None:
        self.cost_usd = Decimal(0)
        self.unpriced_models: set[str] = set()

    def add(self, result: Any) -> None:
        if isinstance(result, dict) and "cost_usd" in result:
            self.cost_usd += Decimal(result["cost_usd"])
            self.unpriced_models.update(result["unpriced_models"])


def _dry_run(options: argparse.Namespace, file: "EventSource") -> int:
    """Send the file to be checked: the server stores nothing, and no progress is saved."""
    from costtrack.client.send_state import SendState, Totals

    errors: list[dict[str, Any]] = []
    estimate = _Estimate()
    totals = _deliver(options, file, SendState(None, Totals()), errors, estimate)
    models = sorted(estimate.unpriced_models)
    if options.json:
        cost = {"cost_usd": f"{estimate.cost_usd:f}", "unpriced_models": models}
        sys.stdout.write(json.dumps({**asdict(totals), **cost, "errors": errors}) + "\n")
    else:
        say(f"dry run, nothing was stored: {_result(totals)}")
        say(f"cost of what would be stored: {estimate.cost_usd:f} USD")
        if models:
            say(f"models without a price: {', '.join(models)}")
    return ExitCode.OK if totals.is_complete else ExitCode.REFUSED


def _deliver(
    options: argparse.Namespace,
    file: "EventSource",
    state: "SendState",
    errors: list[dict[str, Any]],
    estimate: _Estimate | None = None,
) -> "Totals":
    """Send the file, with an `estimate` as a dry run. Rejected records are reported immediately, and collected for
    `--json`."""
    from costtrack.client.call import show_headers
    from costtrack.client.progress import progress
    from costtrack.client.retrying import Retrying, pause
    from costtrack.client.sending import Sending
    from costtrack.client.transport import Answer, Transport

    with Transport(find_instance(options), timeout=options.timeout) as transport, progress(file.count) as shown:

        def request(method: str, path: str, *, body: bytes, headers: dict[str, str]) -> Answer:
            query = {} if estimate is None else {"dry_run": "true"}
            answer = transport.request(method, path, query=query, body=body, headers=headers)
            if options.show_headers:
                show_headers(answer)
            if estimate is not None:
                estimate.add(answer.data_or_none())
            return answer

        def on_error(error: dict[str, Any]) -> None:
            shown.say(_about(error))
            if options.json:
                errors.append(error)

        retrying = Retrying(options.retries, pause, shown.say)
        return Sending(file, state, request, retrying, shown, on_error, options.batch_size).run()


def _about(error: dict[str, Any]) -> str:
    """`line 17, id call-17: model: ...`"""
    who = f"{error['place']}, id {error['id']}" if error.get("id") else error["place"]
    return f"{who}: {error.get('message') or error.get('code') or 'not stored'}"


def _result(totals: "Totals") -> str:
    parts = [f"{totals.accepted:,} stored"]
    if totals.duplicates:
        parts.append(f"{totals.duplicates:,} {'duplicate' if totals.duplicates == 1 else 'duplicates'}")
    if totals.conflicts:
        parts.append(f"{totals.conflicts:,} {'conflicts' if totals.conflicts == 1 else 'conflict'} with stored events")
    if totals.rejected:
        parts.append(f"{totals.rejected:,} rejected")
    return f"{totals.events:,} {'event' if totals.events == 1 else 'events'}: {', '.join(parts)}"
