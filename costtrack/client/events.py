"""`costtrack events send FILE`: send usage events from a file."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from costtrack.client.errors import ClientError, ExitCode
from costtrack.client.instance import find_instance
from costtrack.client.options import Subparsers, add_command, add_group, bounded_integer, file_path
from costtrack.client.terminal import complain, say

if TYPE_CHECKING:
    from costtrack.client.event_file import EventFile
    from costtrack.client.send_state import SendState, Totals

_MAX_EVENTS = 10_000  # the server's bound for one request
_MAX_RETRIES = 1_000


def add_to(commands: Subparsers) -> None:
    events = add_group(commands, "events", "send usage events")
    send = add_command(events, "send", _send, "send a file of usage events, or resume an interrupted one")
    send.add_argument(
        "file",
        type=file_path,
        metavar="FILE",
        help='a JSON array, {"events": [...]}, or one event per line; - is stdin',
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


def _send(options: argparse.Namespace) -> int:
    from costtrack.client.event_file import EventFile
    from costtrack.client.send_state import SendState

    instance = find_instance(options)
    with _opened(options.file) as opened:
        file = EventFile(opened, str(options.file))
        state = SendState.of(file.digest, instance)
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


def _deliver(
    options: argparse.Namespace, file: "EventFile", state: "SendState", errors: list[dict[str, Any]]
) -> "Totals":
    """Send the file. Rejected records are reported immediately, and collected for `--json`."""
    from costtrack.client.call import show_headers
    from costtrack.client.progress import progress
    from costtrack.client.retrying import Retrying, pause
    from costtrack.client.sending import Sending
    from costtrack.client.transport import Answer, Transport

    with Transport(find_instance(options), timeout=options.timeout) as transport, progress(file.count) as shown:

        def request(method: str, path: str, *, body: bytes, headers: dict[str, str]) -> Answer:
            answer = transport.request(method, path, body=body, headers=headers)
            if options.show_headers:
                show_headers(answer)
            return answer

        def on_error(error: dict[str, Any]) -> None:
            shown.say(_about(error))
            if options.json:
                errors.append(error)

        retrying = Retrying(options.retries, pause, shown.say)
        return Sending(file, state, request, retrying, shown, on_error, options.batch_size).run()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open the file. Piped input is copied to a temporary file first, because events are read twice."""
    with ExitStack() as open_files:
        try:
            file = sys.stdin.buffer if str(path) == "-" else open_files.enter_context(path.open("rb"))
            if file is sys.stdin.buffer or not file.seekable():
                spool = open_files.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(file, spool)
                file = spool
        except OSError as error:
            raise ClientError(f"{path} cannot be read: {error.strerror or error}") from error
        yield file


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
