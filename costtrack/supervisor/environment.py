"""The environment of the services: the caller's variables, completed by defaults for the data folder."""

import os
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from costtrack import embedded, metrics_folder
from costtrack.supervisor.folder import DataFolder

# Set for every child process: the default of --data-dir.
DATA_DIR = "COSTTRACK_DATA_DIR"
_LOCAL_HOSTS = "localhost,127.0.0.1,[::1]"


def is_set(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the caller has set a variable, directly or as a file."""
    return bool(environment.get(name) or environment.get(f"{name}_FILE"))


def child_environment(folder: DataFolder, hosts: Iterable[str] = (), url: str | None = None) -> dict[str, str]:
    """Return variables for Django, granian and Celery. The caller's variables have precedence; `hosts` are also
    allowed. `url` is that of the web server."""
    environment = dict(os.environ)
    if not is_set("DATABASE_URL"):
        environment["DATABASE_URL"] = embedded.postgres_url(folder.path)
    if not is_set("REDIS_URL"):
        environment["REDIS_URL"] = embedded.redis_url(folder.path)
    if not is_set("COSTTRACK_SECRET_KEY"):
        environment["COSTTRACK_SECRET_KEY_FILE"] = str(folder.secret_key)
        environment.pop("COSTTRACK_SECRET_KEY", None)
    if not is_set("COSTTRACK_EMAIL_URL"):
        environment["COSTTRACK_EMAIL_URL"] = f"file://{quote(str(folder.mail))}"
    if url is not None:
        environment.setdefault("COSTTRACK_PUBLIC_URL", url)
    environment.setdefault("COSTTRACK_HTTPS", "false")
    environment.setdefault("COSTTRACK_LOG_FORMAT", "console")
    allowed = environment.get("COSTTRACK_ALLOWED_HOSTS", _LOCAL_HOSTS)
    environment["COSTTRACK_ALLOWED_HOSTS"] = ",".join([allowed, *hosts])
    environment["DJANGO_SETTINGS_MODULE"] = "costtrack.settings"
    environment["PYTHONUNBUFFERED"] = "1"
    environment.setdefault(metrics_folder.VARIABLE, str(folder.metrics))
    environment[DATA_DIR] = str(folder.path)
    return environment


def command_environment(folder: DataFolder) -> dict[str, str]:
    """Like `child_environment`, for a single command, which needs no connection pool and shares no counters."""
    environment = {**child_environment(folder), "COSTTRACK_DATABASE_POOL": "false"}
    del environment[metrics_folder.VARIABLE]
    return environment
