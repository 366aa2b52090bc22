"""The beat schedule (UTC).

A message expires about when the next one of its kind is sent, which does the same work. `costtrack.beat` keeps expired
messages from piling up in the broker.
"""

from typing import Any

from celery.schedules import BaseSchedule, crontab

from costtrack.queues import TICK, Queue

TICK_SECONDS = 5
_HOUR = 3600


def _send(task: str, when: BaseSchedule | float, *, expires: int) -> dict[str, Any]:
    """An entry of Celery's `beat_schedule`. `expires` is in seconds; a number as `when` is a period in seconds."""
    return {"task": task, "schedule": when, "options": {"expires": expires}}


SCHEDULE: dict[str, dict[str, Any]] = {
    "fold": _send("billing.fold", 1, expires=2),
    "enforce-limits": _send("billing.enforce_limits", crontab(), expires=60),
    "expire-authorizations": _send("billing.expire_authorizations", crontab(), expires=60),
    "price-unpriced": _send("billing.price_unpriced", crontab(minute="*/10"), expires=540),
    "prepare-partitions": _send("billing.prepare_partitions", crontab(hour="0", minute="10"), expires=20 * _HOUR),
    "retain": _send("billing.retain", crontab(hour="1", minute="30"), expires=20 * _HOUR),
    "check-archive": _send("billing.check_archive", crontab(hour="4", minute="45"), expires=20 * _HOUR),
    "verify-rollups": _send("billing.verify_rollups", crontab(hour="3", minute="0"), expires=20 * _HOUR),
    "rebuild-rollups": _send(
        "billing.rebuild_rollups", crontab(day_of_month="2", hour="2", minute="0"), expires=20 * _HOUR
    ),
    "pack-rollups": _send("billing.pack_rollups", crontab(day_of_month="3", hour="2", minute="0"), expires=20 * _HOUR),
    "verify-limits": _send("billing.verify_limits", crontab(hour="4", minute="0"), expires=20 * _HOUR),
    "back-test-forecasts": _send("billing.back_test_forecasts", crontab(hour="4", minute="30"), expires=20 * _HOUR),
    "detect-anomalies": _send("billing.detect_anomalies", crontab(minute="10"), expires=_HOUR),
    "reprice": _send("billing.reprice", crontab(), expires=60),
    "process-uploads": _send("billing.process_upload", crontab(), expires=60),
    "delete-old-uploads": _send("billing.delete_old_uploads", crontab(minute="20"), expires=_HOUR),
    "fetch-bills": _send("billing.fetch_bills", crontab(), expires=60),
    "run-exports": _send("billing.run_export", crontab(), expires=60),
    "delete-old-exports": _send("billing.delete_old_exports", crontab(minute="50"), expires=_HOUR),
    "delete-organizations": _send("billing.delete_organizations", crontab(minute="40"), expires=_HOUR),
    "notify-usage-issues": _send("billing.notify_usage_issues", crontab(), expires=60),
    "send-reports": _send("billing.send_reports", crontab(minute="*/5"), expires=290),
    "deliver-email": _send("billing.deliver_email", 15, expires=30),
    "deliver-account-email": _send("organizations.deliver_email", 15, expires=30),
    "deliver-webhooks": _send("billing.deliver_webhooks", 15, expires=30),
}

# A probe for every queue, independent of the task routes: it shows that the queue's workers take messages.
SCHEDULE |= {
    f"tick-{queue}": {
        "task": TICK,
        "schedule": TICK_SECONDS,
        "kwargs": {"queue": queue.value},
        "options": {"queue": queue.value, "expires": 2 * TICK_SECONDS},
    }
    for queue in Queue
}
