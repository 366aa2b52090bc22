"""Worker processes that send e-mails in a loop until they are killed.

    python -m tests.concurrency.mail_worker

Each line of its input is the number of seconds by which a worker's clock is ahead; the answer is the worker's process
id. Workers are forked, so that one starts in a moment.
"""

import os
import signal
import sys
import time
from datetime import timedelta

import django

django.setup()

from django.urls import reverse  # noqa: E402 - Django must be set up

from billing.notifications.emails import deliver_emails  # noqa: E402
from costtrack.clock import utc_now  # noqa: E402


def start_workers() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no one waits for the children
    reverse("admin:index")  # loads everything that a message needs
    for line in sys.stdin:
        worker = os.fork()
        if worker == 0:
            _send(timedelta(seconds=float(line)))
        sys.stdout.write(f"{worker}\n")
        sys.stdout.flush()


def _send(ahead: timedelta) -> None:
    while True:
        if not deliver_emails(now=utc_now() + ahead).sent:
            time.sleep(0.02)


start_workers()
