"""Worker processes that do one kind of work in a loop until they are killed.

    python -m tests.concurrency.forked_workers emails

Each line of its input starts a worker, and is the number of seconds by which the worker's clock is ahead; the answer is
the worker's process id. Workers are forked, so that one starts in a moment.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import django

django.setup()

from django.urls import reverse  # noqa: E402 - Django must be set up

from billing.notifications.emails import deliver_emails  # noqa: E402
from billing.rollups.fold import fold  # noqa: E402
from costtrack.clock import utc_now  # noqa: E402

# Each returns how much it has done. With nothing to do a worker waits a little, as it waits for its next task: it must
# leave the machine to the others.
_WORK: dict[str, Callable[[datetime], int]] = {
    "emails": lambda now: deliver_emails(now=now).sent,
    "fold": lambda now: fold(now=now).batches,
}
_PAUSE_SECONDS = 0.01


def start_workers(work: Callable[[datetime], int]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no one waits for the children
    reverse("admin:index")  # loads everything that a message needs
    for line in sys.stdin:
        worker = os.fork()
        if worker == 0:
            _work_on(work, timedelta(seconds=float(line)))
        sys.stdout.write(f"{worker}\n")
        sys.stdout.flush()


def _work_on(work: Callable[[datetime], int], ahead: timedelta) -> None:
    while True:
        if not work(utc_now() + ahead):
            time.sleep(_PAUSE_SECONDS)


start_workers(_WORK[sys.argv[1]])
