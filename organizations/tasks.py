"""Celery tasks: emails about accounts."""

from costtrack.celery import app
from costtrack.clock import utc_now
from costtrack.jobs import enqueue_on_commit
from organizations import security_log
from organizations.account_emails import DELIVER_TASK
from organizations.accounts.delivery import deliver_account_emails


@app.task(name=DELIVER_TASK)
def deliver_email_task() -> int:
    """Send due emails for about 20 seconds, and return how many. The next run sends the rest. Also delete what is old
    in the security log."""
    now = utc_now()
    security_log.expire(now=now)
    done = deliver_account_emails(now=now)
    if done.has_more:
        enqueue_on_commit(DELIVER_TASK)
    return done.sent
