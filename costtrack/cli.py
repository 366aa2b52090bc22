"""The console script `costtrack`.

It must start fast, so each command imports what it needs when it runs.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from costtrack import __version__
from costtrack.client import commands as client
from costtrack.client import events, limits, usage

_INTERRUPTED = 130  # a shell's exit code for a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for a failure reported in one line, 2 for wrong arguments. The
    client's commands have more codes (docs/cli.md)."""
    options = _parser().parse_args(arguments)
    server_commands = {
        "up": _up,
        "serve": _serve,
        "manage": _manage,
        "doctor": _doctor,
        "rollups": _rollups,
        "archive": _archive,
        "backup": _backup,
        "restore": _restore,
        "export-ledger": _export_ledger,
    }
    try:
        if options.command in server_commands:
            return _run_on_server(server_commands[options.command], options)
        return client.run_command(options.run, options)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run_on_server(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a command that the package of the client, `packages/costtrack-cli`, does not contain."""
    try:
        return command(options)
    except ModuleNotFoundError as error:
        if error.name not in ("costtrack.supervisor", "costtrack.web_server"):
            raise
    sys.stderr.write(f"costtrack: this is the client; `costtrack {options.command}` needs the server's package\n")
    return 1


@cache
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="costtrack", description="One exact ledger of AI spend.")
    parser.add_argument("--version", action="version", version=f"costtrack {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    up = commands.add_parser("up", help="start all services on this machine, and restart those that stop")
    _add_address(up)
    up.add_argument("--demo", action=argparse.BooleanOptionalAction, default=False, help="load demo organizations")
    _add_data_dir(up)

    serve = commands.add_parser(
        "serve", help="run only the web server, for a deployment with its own servers and workers"
    )
    _add_address(serve)
    _add_count(serve, "--workers", 2, "processes")
    threads = "concurrent requests per process (default: COSTTRACK_WEB_THREADS, or 8)"
    serve.add_argument("--threads", type=_count, help=threads)

    manage = commands.add_parser("manage", help="run a Django management command on the data of `costtrack up`")
    _add_data_dir(manage)
    manage.add_argument("arguments", nargs=argparse.REMAINDER, metavar="django command ...")

    about = "examine the data folder, the machine, the settings and what runs; exit code 1 for a failure"
    doctor = commands.add_parser("doctor", help=about)
    _add_address(doctor)
    _add_data_dir(doctor)
    doctor.add_argument("--backups", type=Path, metavar="FOLDER", help="also check the age of the newest backup there")

    _add_rollups(commands.add_parser("rollups", help="fold, verify or rebuild the rollups, or drop old events"))

    _add_archive(commands.add_parser("archive", help="move events of old months to files; totals do not change"))

    backup = commands.add_parser("backup", help="back up the database of `costtrack up` while it runs")
    _add_data_dir(backup)
    about = "a backup folder for base backups and the write-ahead log, or a new file that ends with .dump"
    backup.add_argument("target", type=Path, metavar="TARGET", help=about)
    about = "remove older base backups, and the log that only they need"
    backup.add_argument("--keep", type=_count, metavar="NUMBER", help=about)

    restore = commands.add_parser("restore", help="restore a backup into a new data folder, and verify the ledger")
    _add_data_dir(restore)
    about = "a backup folder, or a dump by `costtrack backup` or by pg_dump --format=custom"
    restore.add_argument("source", type=Path, metavar="SOURCE", help=about)
    about = "the point in time to restore a backup folder to, for example 2026-11-30T14:05:00Z (default: the end)"
    restore.add_argument("--to", type=_time, metavar="TIME", help=about)
    about = "do not compare rollups and limits with the ledger, which takes minutes for millions of events"
    restore.add_argument("--no-verify", dest="verify", action="store_false", help=about)

    export = commands.add_parser(
        "export-ledger", help="export the events of a data folder, to send them to another installation"
    )
    _add_data_dir(export)
    export.add_argument("folder", type=Path, help="the folder for the files (one per organization)")

    client.add_to(commands)
    about = "verify that spend limits match the ledger, on the data of `costtrack up`"
    verify_limits = limits.add_to(commands).add_parser("verify", help=about)
    _add_data_dir(verify_limits)
    _add_organization(verify_limits)
    verify_limits.set_defaults(run=_verify_limits)
    about = "print the events of a month, those in the archive included, on the data of `costtrack up`"
    _add_read_events(events.add_to(commands).add_parser("read", help=about))
    return parser


def _add_rollups(rollups: argparse.ArgumentParser) -> None:
    _add_data_dir(rollups)
    actions = rollups.add_subparsers(dest="action", required=True, metavar="action")
    fold = actions.add_parser("fold", help="fold unfolded batches")
    verify = actions.add_parser("verify", help="compare all rollups with the ledger; exit code 1 if they differ")
    rebuild = actions.add_parser("rebuild", help="rebuild the rollups from the ledger; intake continues")
    retain = actions.add_parser("retain", help="drop old events; totals do not change")
    for action in (fold, verify, rebuild, retain):
        # Without a default: it would replace a folder that is given before the action.
        action.add_argument("--data-dir", type=Path, default=argparse.SUPPRESS, help="the data folder")
    for action in (verify, rebuild, retain):
        _add_organization(action)
    rebuild.add_argument("--from", metavar="DATE", help="only from this day on (UTC)")
    rebuild.add_argument("--to", metavar="DATE", help="only until the end of this day (UTC)")
    retain.add_argument(
        "--before", metavar="YYYY-MM", required=True, help="drop events received before this month (UTC)"
    )
    retain.add_argument("--dry-run", action="store_true", help="show what would be dropped, without dropping it")


def _add_archive(archive: argparse.ArgumentParser) -> None:
    _add_data_dir(archive)
    _add_organization(archive)
    months = archive.add_mutually_exclusive_group(required=True)
    months.add_argument("--month", metavar="YYYY-MM", help="only events received in this month (UTC)")
    months.add_argument("--before", metavar="YYYY-MM", help="events received before this month (UTC)")
    archive.add_argument("--dry-run", action="store_true", help="show what would be archived, and change nothing")
    archive.add_argument("target", metavar="TARGET", help="a folder, or s3://bucket/prefix")


def _add_read_events(read: argparse.ArgumentParser) -> None:
    _add_data_dir(read)
    read.add_argument("--organization", metavar="SLUG", required=True)
    about = "the month in which they occurred, in the organization's time zone"
    read.add_argument("--month", metavar="YYYY-MM", required=True, help=about)
    read.add_argument("--format", choices=("csv", "jsonl"), help="CSV (the default) or a JSON object on each line")
    read.add_argument("--only-calls", action="store_true", help="without tool calls, compute and session summaries")
    read.add_argument("--endpoint", metavar="NAME")
    usage.add_filters(read)
    read.set_defaults(run=_read_events)


def _add_organization(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--organization", metavar="SLUG", help="only this organization")


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="port to listen on (default: %(default)s)")


def _add_count(parser: argparse.ArgumentParser, name: str, default: int, explanation: str) -> None:
    parser.add_argument(name, type=_count, default=default, help=f"{explanation} (default: %(default)s)")


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    default = Path(os.environ.get("COSTTRACK_DATA_DIR", ".costtrack"))
    parser.add_argument("--data-dir", type=Path, default=default, help="the data folder (default: %(default)s)")


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else 0
    if not 0 < port < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 1 and 65535")
    return port


def _count(text: str) -> int:
    count = int(text) if text.isdecimal() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return count


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time with its zone, such as 2026-11-30T14:05:00Z")
    return time.astimezone(UTC)


def _serve(options: argparse.Namespace) -> int:
    from costtrack.web_server.serve import ServeOptions, serve

    return serve(ServeOptions(options.host, options.port, options.workers, options.threads))


def _up(options: argparse.Namespace) -> int:
    from costtrack.supervisor.up import Options, up

    return up(Options(host=options.host, port=options.port, data_dir=options.data_dir, demo=options.demo))


def _manage(options: argparse.Namespace) -> int:
    from costtrack.supervisor.manage import manage

    return manage(options.data_dir, options.arguments)


def _doctor(options: argparse.Namespace) -> int:
    from costtrack.supervisor.doctor import Options, doctor

    return doctor(Options(options.host, options.port, options.data_dir, options.backups))


def _rollups(options: argparse.Namespace) -> int:
    from costtrack.supervisor.manage import manage

    arguments = ["rollups", options.action]
    for name in ("organization", "from", "to", "before"):
        if (value := getattr(options, name, None)) is not None:
            arguments += [f"--{name}", value]
    if getattr(options, "dry_run", False):
        arguments.append("--dry-run")
    return manage(options.data_dir, arguments)


def _archive(options: argparse.Namespace) -> int:
    from costtrack.supervisor.manage import manage

    target = options.target if "://" in options.target else str(Path(options.target).absolute())
    arguments = ["archive", target]
    for name in ("organization", "month", "before"):
        if (value := getattr(options, name)) is not None:
            arguments += [f"--{name}", value]
    if options.dry_run:
        arguments.append("--dry-run")
    return manage(options.data_dir, arguments)


def _read_events(options: argparse.Namespace) -> int:
    from costtrack.supervisor.manage import manage

    names = ("organization", "month", "format", "endpoint", *usage.FILTERS)
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    if options.only_calls:
        arguments.append("--only-calls")
    return manage(options.data_dir, ["events", "read", *arguments])


def _verify_limits(options: argparse.Namespace) -> int:
    from costtrack.supervisor.manage import manage

    organization = [] if options.organization is None else ["--organization", options.organization]
    return manage(options.data_dir, ["limits", "verify", *organization])


def _backup(options: argparse.Namespace) -> int:
    from costtrack.supervisor.backup import backup

    return backup(options.data_dir, options.target, options.keep)


def _restore(options: argparse.Namespace) -> int:
    from costtrack.supervisor.restore import Options, restore

    return restore(Options(options.data_dir, options.source, options.to, options.verify))


def _export_ledger(options: argparse.Namespace) -> int:
    from costtrack.supervisor.export_ledger import export_ledger

    return export_ledger(options.data_dir, options.folder)
