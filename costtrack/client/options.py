"""Arguments that commands share."""

import argparse
from pathlib import Path
from typing import Any, Protocol

DEFAULT_TIMEOUT = 120.0


class Subparsers(Protocol):
    """The return type of `add_subparsers`."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser: ...


class Run(Protocol):
    def __call__(self, options: argparse.Namespace) -> int: ...


def add_group(commands: Subparsers, name: str, about: str) -> Subparsers:
    """Add a command with subcommands: `costtrack costs ...`."""
    parser = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    return parser.add_subparsers(dest=f"{name}_command", required=True, metavar="command")


def add_command(commands: Subparsers, name: str, run: Run, about: str) -> argparse.ArgumentParser:
    """Add a command that sends a request, with the common options."""
    description = f"{about[0].upper()}{about[1:]}."
    parser = commands.add_parser(name, help=about, description=description, allow_abbrev=False)
    add_where(parser)
    parser.add_argument("--json", action="store_true", help="print the server's JSON unchanged")
    parser.add_argument("--show-headers", action="store_true", help="print the response's status and headers on stderr")
    parser.set_defaults(run=run)
    return parser


def add_where(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("server")
    where.add_argument("--url", help="its URL (default: COSTTRACK_URL, GLOW_INSTANCE_URL, or the last login)")
    where.add_argument("--token", help="an API key (preferably use COSTTRACK_TOKEN, GLOW_TOKEN, or `costtrack login`)")
    where.add_argument("--organization", metavar="SLUG", help="for users and operators with several organizations")
    where.add_argument(
        "--timeout", type=_seconds, default=DEFAULT_TIMEOUT, metavar="SECONDS", help="default: %(default)g"
    )


def add_dates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start-date", metavar="DATE", help="2026-11-02, or 2026-11-02T09:00:00Z")
    parser.add_argument("--end-date", metavar="DATE", help="a date includes its whole day")


def identifier(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an id must not be empty")
    return text


def file_path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a file name")
    return Path(text)


def bounded_integer(text: str, lowest: int, highest: int) -> int:
    number = int(text) if text.isdecimal() and len(text) <= len(str(highest)) else lowest - 1
    if not lowest <= number <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest} to {highest}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:  # noqa: PLR2004 - a day
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
