"""Background processes as Redis and readers of it see them."""

from costtrack import heartbeat
from costtrack.heartbeat import Beat, HeartbeatSnapshot, RunningTask, Worker
from costtrack.queues import Queue

HOUR = 3600.0


def worker(*queues: Queue, name: str = "worker@here", **fields: float | list[RunningTask]) -> Worker:
    """An idle worker of these queues that has run, and taken nothing, for an hour."""
    values = {"slots": 1, "up_for": HOUR, "idle_for": HOUR, "tasks": [], **fields}
    return Worker(name=name, queues=[queue.value for queue in queues], **values)  # type: ignore[arg-type]


OLD_BEAT = Beat(HOUR)


def snapshot(*workers: Worker, intake: float | None = None, beat: Beat | None = OLD_BEAT) -> HeartbeatSnapshot:
    """These workers, and a probe of the intake's queue that was executed so many seconds ago."""
    ticks = {} if intake is None else {Queue.INTAKE.value: intake}
    return HeartbeatSnapshot(list(workers), beat, ticks, dict.fromkeys(Queue, 0))


def all_well() -> None:
    """Every queue has a worker that has just executed something, and beat runs."""
    heartbeat.client().flushdb()
    heartbeat.worker_lives(worker(*Queue))
    heartbeat.beat_lives(OLD_BEAT)
    for queue in Queue:
        heartbeat.ticked(queue)
