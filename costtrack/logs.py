"""Structured logs: JSON lines in production, readable lines in development.

Every line carries what the request or task has bound (`request_id`, `organization`, `credential`); no caller may
bind or log a secret.
"""

import logging.config
from typing import Any

import structlog

from costtrack.queues import ROUTINE_TASKS

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class NotRoutine(logging.Filter):
    """Drops what Celery says of tasks that run every few seconds, unless they fail."""

    def filter(self, record: logging.LogRecord) -> bool:
        task = getattr(record, "data", {}).get("name")
        return record.levelno > logging.INFO or task not in ROUTINE_TASKS


def logging_config(*, json_lines: bool, level: str) -> dict[str, Any]:
    """The dictConfig for Django, granian and Celery alike."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json_lines
        # Plain tracebacks: the usual rich ones print local variables, which hold secrets.
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    processors: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if json_lines:
        processors.append(structlog.processors.format_exc_info)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [*processors, renderer],
            }
        },
        "filters": {"not routine": {"()": NotRoutine}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django.server": {"propagate": True},
            "django.request": {"level": "ERROR"},
            "celery.beat": {"level": "WARNING"},  # the workers say what they were sent
            "celery.worker.strategy": {"filters": ["not routine"]},
            "celery.app.trace": {"filters": ["not routine"]},
        },
    }


def configure(config: dict[str, Any]) -> None:
    """What Django calls with the LOGGING setting."""
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
