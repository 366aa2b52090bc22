"""Health checks of queues, workers and beat.

A worker can be alive without taking messages: its connection died unnoticed, or all its processes hang. So beat sends a
probe to every queue every few seconds (`costtrack.beat_schedule`). A queue is stuck when its probes are not
executed although it has a worker, unless that worker takes other messages (the probes are behind them), or all its
processes are busy with tasks within their time limit.
"""

import logging

import redis

from costtrack import heartbeat
from costtrack.health.measures import Measure, declare
from costtrack.health.registry import Check
from costtrack.heartbeat import Beat, HeartbeatSnapshot, Worker
from costtrack.queues import GRACE_SECONDS, TASKS, Queue, time_limit_of

logger = logging.getLogger(__name__)

STUCK_AFTER_SECONDS = 30.0
MANY_MESSAGES = 100
"""With this many pending messages, beat stops sending frequent tasks to a queue (`costtrack.beat`)."""
_SECTION = "Queues"
_NEVER = float("inf")

_PENDING = declare("costtrack_queue_messages", "Messages that no worker has taken.", "queue")
_WORKERS = declare("costtrack_queue_workers", "Live workers that take the queue.", "queue")
_PROBE = declare("costtrack_queue_probe_age_seconds", "Time since a worker executed the last probe.", "queue")


def queue_checks() -> list[Check]:
    """One check for each queue, and one for the scheduler."""
    try:
        snapshot = heartbeat.read()
    except redis.RedisError as error:
        logger.warning("queues cannot be checked", extra={"reason": type(error).__name__})
        queues = [Check(_name(queue), queue.value, _SECTION, ok=False, state="unknown") for queue in Queue]
        return [*queues, Check("beat", "Beat", "Scheduler", ok=False, state="unknown")]
    return [*(_queue_check(queue, snapshot) for queue in Queue), _beat_check(snapshot.beat)]


def _name(queue: Queue) -> str:
    return f"queue_{queue}"


def _queue_check(queue: Queue, snapshot: HeartbeatSnapshot) -> Check:
    workers = [worker for worker in snapshot.workers if queue in worker.queues]
    state = state_of(queue, snapshot)
    # A worker of several queues may be busy with tasks of other queues; show them if this queue is waiting for them.
    tasks = [
        f"{task.name}, {_duration(task.seconds)}"
        for worker in workers
        for task in worker.tasks
        if state == "busy" or TASKS.get(task.name) == queue
    ]
    return Check(
        _name(queue),
        queue.value,
        _SECTION,
        ok=state in ("running", "busy"),
        state=state,
        details={
            "Workers": ", ".join(worker.name for worker in workers) or "none",
            "Last probe": f"{_duration(snapshot.ticks[queue])} ago" if queue in snapshot.ticks else "never",
            "Pending": f"{snapshot.pending[queue]:,}",
            "Running tasks": "; ".join(tasks) or "none",
        },
        advice=_advice(queue, state, snapshot),
        measures=_measures(queue, snapshot, len(workers)),
    )


def _measures(queue: Queue, snapshot: HeartbeatSnapshot, workers: int) -> tuple[Measure, ...]:
    measures = (_PENDING.measure(snapshot.pending[queue], queue), _WORKERS.measure(workers, queue))
    if queue not in snapshot.ticks:
        return measures
    return (*measures, _PROBE.measure(snapshot.ticks[queue], queue))


def _advice(queue: Queue, state: str, snapshot: HeartbeatSnapshot) -> str:
    if state == "running" and snapshot.pending[queue] >= MANY_MESSAGES:
        return "Messages arrive faster than they are processed. Add another worker."
    return _ADVICE.get(state, "").format(queue=queue)


_ADVICE = {
    "busy": "The queue is waiting for a long task. Nothing is lost; another worker would process the pending messages.",
    "unattended": "Start a worker: celery --app costtrack.celery worker --queues {queue}",
    "stuck": "The workers take no messages. Restart them; no messages are lost.",
}


def worker_checks() -> list[Check]:
    """Return one check per live worker. If there is none, or no Redis, the checks of the queues report it."""
    try:
        snapshot = heartbeat.read()
    except redis.RedisError:
        return []
    return [_worker_check(worker) for worker in snapshot.workers]


def _worker_check(worker: Worker) -> Check:
    details = {
        "Queues": ", ".join(worker.queues),
        "Busy": f"{len(worker.tasks)} of {worker.slots} {'process' if worker.slots == 1 else 'processes'}",
        "Last message": f"{_duration(worker.idle_for)} ago",
        "Up for": _duration(worker.up_for),
    }
    return Check(f"worker_{worker.name}", worker.name, "Workers", ok=True, state="alive", details=details)


def state_of(queue: Queue, snapshot: HeartbeatSnapshot) -> str:
    """Return the state of a queue. `unattended`: no worker consumes it. `stuck`: its workers take no messages. `busy`:
    it is waiting for a long task. Otherwise `running`, also without beat, whose probes could show more."""
    workers = [worker for worker in snapshot.workers if queue in worker.queues]
    if not workers:
        return "unattended"
    if snapshot.beat is None:
        return "running"
    # A probe cannot be expected before beat and a worker have been up for a while.
    expected_for = min(snapshot.beat.up_for, max(worker.up_for for worker in workers))
    silent_for = min(snapshot.ticks.get(queue, _NEVER), expected_for, *(worker.idle_for for worker in workers))
    if silent_for <= STUCK_AFTER_SECONDS:
        return "running"
    return "busy" if any(_is_at_work(worker) for worker in workers) else "stuck"


def _is_at_work(worker: Worker) -> bool:
    """Whether all its processes run tasks within their time limit. (Others should have been killed.)"""
    may_run = [task for task in worker.tasks if task.seconds <= time_limit_of(task.name) + GRACE_SECONDS]
    return len(may_run) >= worker.slots


def _beat_check(beat: Beat | None) -> Check:
    if beat is None:
        advice = "Start beat: celery --app costtrack.celery beat. Without it, no scheduled tasks run."
        return Check("beat", "Beat", "Scheduler", ok=False, state="missing", advice=advice)
    return Check("beat", "Beat", "Scheduler", ok=True, state="running", details={"Up for": _duration(beat.up_for)})


def _duration(seconds: float) -> str:
    """Format in the largest unit of which there are at least two: `90 s`, `4 min`, `47 h`, `9 days`."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
