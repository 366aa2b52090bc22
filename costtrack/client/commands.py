"""The commands of the client, for the console script."""

import argparse
import os
import sys

from costtrack.client import (
    allocation,
    bills,
    commitments,
    costs,
    exports,
    login,
    outcomes,
    provider_credits,
    spend,
    statements,
    system,
    usage,
)
from costtrack.client.errors import ClientError, ExitCode
from costtrack.client.options import Run, Subparsers
from costtrack.client.terminal import complain


def add_to(commands: Subparsers) -> None:
    """Add the client's commands. `run_command` runs the chosen one, which is in `options.run`."""
    for group in (
        *(system, costs, spend, usage, outcomes, allocation, commitments, statements, provider_credits, bills),
        *(exports, login),
    ):
        group.add_to(commands)


def run_command(run: Run, options: argparse.Namespace) -> int:
    """Run a command and return its exit code. Errors are one line on stderr."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character gets a question mark
    try:
        code = run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        return ExitCode.READER_GONE
    except ClientError as error:
        complain(str(error))
        return error.exit_code
    except OSError as error:  # a full disk behind stdout
        complain(f"the output cannot be written: {error.strerror or error}")
        return ExitCode.REFUSED
    return code


def _forget_stdout() -> None:
    """Redirect stdout, because Python flushes it again at exit and would report the broken pipe again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
