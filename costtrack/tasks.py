"""The project's own task; the others are in `billing.tasks`."""

from costtrack import heartbeat
from costtrack.celery import app
from costtrack.queues import TICK


@app.task(name=TICK)
def tick(queue: str) -> None:
    """Show that somebody takes this queue's messages and executes them."""
    heartbeat.ticked(queue)
