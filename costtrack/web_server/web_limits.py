"""The limits of the web server, from the environment (docs/settings.md)."""

from dataclasses import dataclass
from typing import Self

from costtrack.env import Environment

MEGABYTE = 1024 * 1024
BODY_BYTES = MEGABYTE
"""A body, unless its endpoint accepts more (`max_body_bytes` of its view)."""
MAX_URL_BYTES = 8192
"""Path and query string together."""
MAX_HEADER_BYTES = 64 * 1024
MAX_DRAINED_BYTES = 64 * MEGABYTE
"""How much of a refused body is read and dropped."""
DRAIN_SECONDS = 10.0
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLimits:
    """Of one process of the web server. Sizes are in bytes, times in seconds."""

    threads: int
    """Requests that Django handles at the same time."""
    queue_size: int
    """Requests that wait for a thread."""
    tenant_share: float
    """The part of the threads that one organization gets while others are active."""
    max_connections: int
    body_memory: int
    """All bodies that are being received or handled."""
    body_idle_timeout: float
    """Between two parts of a body."""
    body_timeout: float
    header_timeout: float
    keep_alive_timeout: float
    """Between two requests of a connection."""
    response_timeout: float
    """For a client to read a part of a response."""

    @classmethod
    def read(cls, env: Environment) -> Self:
        return cls(
            threads=env.integer("COSTTRACK_WEB_THREADS", 8, minimum=1),
            queue_size=env.integer("COSTTRACK_WEB_QUEUE_SIZE", 256, minimum=1),
            tenant_share=env.integer("COSTTRACK_WEB_TENANT_SHARE", 25, minimum=1, maximum=100) / 100,
            max_connections=env.integer("COSTTRACK_WEB_MAX_CONNECTIONS", 4096, minimum=10),
            body_memory=env.integer("COSTTRACK_WEB_BODY_MEMORY", 160, minimum=1) * MEGABYTE,
            body_idle_timeout=env.integer("COSTTRACK_WEB_BODY_IDLE_TIMEOUT", 10, minimum=1),
            body_timeout=env.integer("COSTTRACK_WEB_BODY_TIMEOUT", 120, minimum=1),
            header_timeout=env.integer("COSTTRACK_WEB_HEADER_TIMEOUT", 10, minimum=1, maximum=60),
            keep_alive_timeout=env.integer("COSTTRACK_WEB_KEEP_ALIVE_TIMEOUT", 75, minimum=1),
            response_timeout=env.integer("COSTTRACK_WEB_RESPONSE_TIMEOUT", 60, minimum=1),
        )
