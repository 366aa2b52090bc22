"""A worker process that does one kind of work in a loop until it is killed (`tests.concurrency.workers`).

    python -m tests.concurrency.work emails 0 '{"EMAIL_PORT": 2525}'

The arguments are the work, the number of seconds by which the worker's clock is ahead, and settings of Django that
differ from those of the environment.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings

from billing.notifications.emails import deliver_emails
from billing.notifications.webhook_sender import deliver_webhooks
from billing.rollups.fold import fold
from costtrack.clock import utc_now

# Each returns how much it has done. With nothing to do a worker waits a little, as it waits for its next task: it must
# leave the machine to the others.
_WORK: dict[str, Callable[[datetime], int]] = {
    "emails": lambda now: deliver_emails(now=now).sent,
    "fold": lambda now: fold(now=now).batches,
    "webhooks": lambda now: deliver_webhooks(now=now),
}
_PAUSE_SECONDS = 0.01


def _work_on(work: Callable[[datetime], int], ahead: timedelta) -> None:
    while True:
        if not work(utc_now() + ahead):
            time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    name, seconds, changed_settings = sys.argv[1:]
    for setting, value in json.loads(changed_settings).items():
        setattr(settings, setting, value)
    _work_on(_WORK[name], timedelta(seconds=float(seconds)))
