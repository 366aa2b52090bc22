"""Counters and histograms of what the processes do.

Labels have few values. They are never users, keys or organizations.
"""

import os
import threading
import time

from django.conf import settings
from django.db import connection

from costtrack.metrics_folder import VARIABLE

if settings.METRICS_FOLDER is None:
    os.environ.pop(VARIABLE, None)  # prometheus_client would fail to write there

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from costtrack.metrics import allocated

allocated.install()

PROCESS = CollectorRegistry()
"""What this process has counted."""

_POOL_SECONDS = 5
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

EVENTS = Counter(
    "costtrack_events", "Records of intake by format and outcome.", ["format", "outcome"], registry=PROCESS
)
UNPRICED = Counter("costtrack_events_unpriced", "Accepted records whose cost is unknown.", ["format"], registry=PROCESS)
FLAGGED = Counter("costtrack_events_flagged", "Accepted records with a flag.", ["format"], registry=PROCESS)
INGEST_SECONDS = Histogram(
    "costtrack_ingest_seconds", "Time to price and store a batch.", buckets=_SECONDS, registry=PROCESS
)
AUTHORIZATIONS = Counter("costtrack_authorizations", "Authorizations by answer.", ["answer"], registry=PROCESS)
AUTHORIZE_SECONDS = Histogram(
    "costtrack_authorize_seconds",
    "Time to decide on an authorization and to store it.",
    buckets=_SECONDS,
    registry=PROCESS,
)
HTTP_REQUESTS = Counter("costtrack_http_requests", "Requests by status of the response.", ["status"], registry=PROCESS)
REPLICA_READS = Counter(
    "costtrack_replica_reads",
    "Requests that may read from the replica, by where they read and why.",
    ["outcome"],
    registry=PROCESS,
)
POOL_CONNECTIONS = Gauge(
    "costtrack_database_pool_connections",
    "Connections of the web processes to PostgreSQL by state.",
    ["state"],
    multiprocess_mode="livesum",
    registry=PROCESS,
)
POOL_REQUESTS = Gauge(
    "costtrack_database_pool_requests_waiting",
    "Requests that wait for a connection to PostgreSQL.",
    multiprocess_mode="livesum",
    registry=PROCESS,
)


def publish_pool() -> None:
    """Publish the state of this process' connection pool."""
    pool = connection.pool  # type: ignore[attr-defined] # of costtrack.database
    if pool is not None:
        stats = pool.get_stats()
        POOL_CONNECTIONS.labels("open").set(stats.get("pool_size", 0))
        POOL_CONNECTIONS.labels("idle").set(stats.get("pool_available", 0))
        POOL_REQUESTS.set(stats.get("requests_waiting", 0))


def start_publishing_pool() -> None:
    """In a process of the web server: publish the state of its pool every few seconds, for any process to expose."""
    threading.Thread(target=_publish_forever, name="publish-pool", daemon=True).start()


def _publish_forever() -> None:
    while True:
        publish_pool()
        time.sleep(_POOL_SECONDS)
