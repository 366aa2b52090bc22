"""Error handling for tasks that process organizations one by one: a failure does not stop the others."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def log_failure(organization_id: int, message: str, **details: int | str) -> Iterator[None]:
    """Log an error inside the block with its organization, and continue after the block. The next run of the task
    retries."""
    try:
        yield
    except Exception:
        logger.exception(message, extra={"organization_id": organization_id, **details})
