"""The probe task; the others are in `billing.tasks` and `organizations.tasks`."""

from costtrack import heartbeat
from costtrack.celery import app
from costtrack.queues import TICK


@app.task(name=TICK)
def tick(queue: str) -> None:
    """Record that a worker executes this queue's messages."""
    heartbeat.ticked(queue)
