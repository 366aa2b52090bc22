"""Structured logs: JSON lines in production, readable lines in development.

Every line contains the context of its request or task (`request_id`, `organization`, `credential`). Secrets are masked
in lines of all libraries (`costtrack.secret_links`).
"""

import logging.config
from typing import Any

import structlog
from django.http import HttpRequest

from costtrack.queues import ROUTINE_TASKS
from costtrack.secret_links import mask_value, path_for_logs

REQUEST_ID = "request_id"
"""The name under which the id of the current request is in the context of log lines, and in the headers of tasks."""

QUIET_PATHS = ("/healthz", "/readyz", "/metrics", "/static/")
"""The beginnings of paths that are requested all the time, which are not logged."""

# A filter applies only to the logger that a record was made with.
_SUSPICIOUS = (
    "django.security.DisallowedHost",
    "django.security.DisallowedRedirect",
    "django.security.RequestDataTooBig",
    "django.security.SuspiciousOperation",
    "django.security.TooManyFieldsSent",
)

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def current_request_id() -> str:
    """Return the id of the request that this code runs for, also in a task that it has enqueued; empty elsewhere."""
    return str(structlog.contextvars.get_contextvars().get(REQUEST_ID, ""))


def _mask_secrets(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Drop the request, which prints as its full URL, and the arguments of a task, which Django and Celery attach to
    their records. Mask the secrets in everything else."""
    request = event.pop("request", None)
    if isinstance(request, HttpRequest) and (shown := path_for_logs(request)) != request.path:
        texts = {name: value.replace(request.path, shown) for name, value in event.items() if isinstance(value, str)}
        event.update(texts)
    if isinstance(task := event.get("data"), dict):
        event["data"] = {name: value for name, value in task.items() if name not in ("args", "kwargs")}
    return {name: mask_value(value) for name, value in event.items()}


def _escape_unprintables(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape control characters in the console format: a terminal obeys them, and a NUL makes the log a binary file.
    Only tracebacks have several lines."""
    return {name: _escaped(value, name in _MULTILINE) for name, value in event.items()}


_MULTILINE = ("exception", "stack")


def _escaped(value: Any, is_multiline: bool) -> Any:  # noqa: FBT001 - one of two kinds
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(
        character
        if character.isprintable() or (is_multiline and character in "\n\t")
        else character.encode("unicode_escape").decode()
        for character in value
    )


class OneLine(logging.Filter):
    """Turns Django's records about suspicious requests, such as a wrong Host header that any stranger can send, into
    one line without a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = record.exc_text = None
        return True


class NotRoutine(logging.Filter):
    """Drops Celery's lines about tasks that run every few seconds, unless they failed."""

    def filter(self, record: logging.LogRecord) -> bool:
        task = getattr(record, "data", {}).get("name")
        return record.levelno > logging.INFO or task not in ROUTINE_TASKS


def _processors(*, json_lines: bool) -> list[structlog.typing.Processor]:
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json_lines
        # Plain tracebacks: the default rich ones print local variables, which may contain secrets.
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _mask_secrets,
        *(() if json_lines else (_escape_unprintables,)),
        renderer,
    ]


def json_formatter() -> logging.Formatter:
    """Return a formatter that makes of each record an object in JSON, with its context and without secrets."""
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=_processors(json_lines=True))


def logging_config(*, json_lines: bool, level: str) -> dict[str, Any]:
    """Return the dictConfig for Django, granian and Celery."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": _processors(json_lines=json_lines),
            }
        },
        "filters": {"not routine": {"()": NotRoutine}, "one line": {"()": OneLine}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django": {"handlers": []},  # remove Django's own handlers
            "django.server": {"propagate": True},
            "django.request": {"level": "ERROR"},
            **{name: {"filters": ["one line"]} for name in _SUSPICIOUS},
            "celery.beat": {"level": "WARNING"},  # the workers log the tasks
            "celery.worker.strategy": {"filters": ["not routine"]},
            "celery.app.trace": {"filters": ["not routine"]},
        },
    }


def configure(config: dict[str, Any]) -> None:
    """Configure logging; Django calls this with the LOGGING setting."""
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
