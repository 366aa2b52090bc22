"""Who takes the messages of each queue, and whether they really do.

A worker can be alive and take nothing: its connection has died unnoticed, or all its processes hang. So beat sends a
probe to every queue every few seconds (`costtrack.beat_schedule`). A queue is stuck when its probes are not executed
any more although a worker is there, unless that worker takes other messages (the probes wait behind them), or all its
processes are at work on tasks that may still take that long.
"""

import logging

import redis

from costtrack import heartbeat
from costtrack.health.registry import Check
from costtrack.heartbeat import Beat, Pulse, Worker
from costtrack.queues import GRACE_SECONDS, TASKS, Queue, time_limit_of

logger = logging.getLogger(__name__)

STUCK_AFTER_SECONDS = 30.0
MANY_MESSAGES = 100
"""Beat stops sending the frequent tasks to a queue in which so many wait (`costtrack.beat`)."""
_SECTION = "Queues"
_NEVER = float("inf")


def queue_checks() -> list[Check]:
    """One check for each queue, and one for the scheduler."""
    try:
        pulse = heartbeat.read()
    except redis.RedisError as error:
        logger.warning("queues cannot be looked at", extra={"reason": type(error).__name__})
        queues = [Check(_name(queue), queue.value, _SECTION, ok=False, state="unknown") for queue in Queue]
        return [*queues, Check("beat", "Beat", "Scheduler", ok=False, state="unknown")]
    return [*(_queue_check(queue, pulse) for queue in Queue), _beat_check(pulse.beat)]


def _name(queue: Queue) -> str:
    return f"queue_{queue}"


def _queue_check(queue: Queue, pulse: Pulse) -> Check:
    workers = [worker for worker in pulse.workers if queue in worker.queues]
    state = state_of(queue, pulse)
    # A worker of several queues is at work on other queues' tasks too; they matter here when this queue waits for them.
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
        facts={
            "Workers": ", ".join(worker.name for worker in workers) or "none",
            "Last probe": f"{_duration(pulse.ticks[queue])} ago" if queue in pulse.ticks else "never",
            "Waiting": f"{pulse.waiting[queue]:,}",
            "At work on": "; ".join(tasks) or "nothing",
        },
        advice=_advice(queue, state, pulse),
    )


def _advice(queue: Queue, state: str, pulse: Pulse) -> str:
    if state == "running" and pulse.waiting[queue] >= MANY_MESSAGES:
        return "More comes in than is done: give it another worker, and see whether the number falls."
    return _ADVICE.get(state, "").format(queue=queue)


_ADVICE = {
    "busy": "It waits for a long task. Nothing is lost; another worker would take what waits.",
    "unattended": "Start a worker for it: celery --app costtrack.celery worker --queues {queue}",
    "stuck": "Its workers are there and take nothing. Restart them; the messages stay.",
}


def worker_checks() -> list[Check]:
    """One for each worker that beats. Where there is none, or no Redis to ask, the queues say so."""
    try:
        pulse = heartbeat.read()
    except redis.RedisError:
        return []
    return [_worker_check(worker) for worker in pulse.workers]


def _worker_check(worker: Worker) -> Check:
    facts = {
        "Queues": ", ".join(worker.queues),
        "At work": f"{len(worker.tasks)} of {worker.slots} {'process' if worker.slots == 1 else 'processes'}",
        "Last message": f"{_duration(worker.idle_for)} ago",
        "Up for": _duration(worker.up_for),
    }
    return Check(f"worker_{worker.name}", worker.name, "Workers", ok=True, state="alive", facts=facts)


def state_of(queue: Queue, pulse: Pulse) -> str:
    """`unattended`: nobody consumes it. `stuck`: somebody does, in vain. `busy`: it waits for a long task. Otherwise
    `running`, also when there is no beat whose probes could show more."""
    workers = [worker for worker in pulse.workers if queue in worker.queues]
    if not workers:
        return "unattended"
    if pulse.beat is None:
        return "running"
    # A probe cannot be expected before both sides have been there for a while.
    expected_for = min(pulse.beat.up_for, max(worker.up_for for worker in workers))
    silent_for = min(pulse.ticks.get(queue, _NEVER), expected_for, *(worker.idle_for for worker in workers))
    if silent_for <= STUCK_AFTER_SECONDS:
        return "running"
    return "busy" if any(_is_at_work(worker) for worker in workers) else "stuck"


def _is_at_work(worker: Worker) -> bool:
    """All its processes have a task that may still run. (What passes its time limit is killed, unless that fails.)"""
    may_run = [task for task in worker.tasks if task.seconds <= time_limit_of(task.name) + GRACE_SECONDS]
    return len(may_run) >= worker.slots


def _beat_check(beat: Beat | None) -> Check:
    if beat is None:
        advice = "Start it: celery --app costtrack.celery beat. Without it, nothing happens by the clock."
        return Check("beat", "Beat", "Scheduler", ok=False, state="missing", advice=advice)
    return Check("beat", "Beat", "Scheduler", ok=True, state="running", facts={"Up for": _duration(beat.up_for)})


def _duration(seconds: float) -> str:
    """In the largest unit of which there are at least two: `90 s`, `4 min`, `47 h`, `9 days`."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
