"""The environment that the parts get: the caller's own, completed by what the data folder knows."""

import os
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from costtrack import embedded
from costtrack.supervisor.folder import DataFolder

# In every child's environment: tells which data folder a process belongs to.
DATA_DIR = "COSTTRACK_DATA_DIR"
_LOCAL_HOSTS = "localhost,127.0.0.1,[::1]"


def is_given(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the caller has set a variable (or a file for it) that would otherwise be provided."""
    return bool(environment.get(name) or environment.get(f"{name}_FILE"))


def child_environment(folder: DataFolder, hosts: Iterable[str] = (), url: str | None = None) -> dict[str, str]:
    """Variables for Django, granian and Celery. What the caller has set is kept; `hosts` are allowed besides. `url` is
    where the web server will be."""
    environment = dict(os.environ)
    if not is_given("DATABASE_URL"):
        environment["DATABASE_URL"] = embedded.postgres_url(folder.path)
    if not is_given("REDIS_URL"):
        environment["REDIS_URL"] = embedded.redis_url(folder.path)
    if not is_given("COSTTRACK_SECRET_KEY"):
        environment["COSTTRACK_SECRET_KEY_FILE"] = str(folder.secret_key)
        environment.pop("COSTTRACK_SECRET_KEY", None)
    if not is_given("COSTTRACK_EMAIL_URL"):
        environment["COSTTRACK_EMAIL_URL"] = f"file://{quote(str(folder.mail))}"
    if url is not None:
        environment.setdefault("COSTTRACK_PUBLIC_URL", url)
    environment.setdefault("COSTTRACK_HTTPS", "false")
    environment.setdefault("COSTTRACK_LOG_FORMAT", "console")
    allowed = environment.get("COSTTRACK_ALLOWED_HOSTS", _LOCAL_HOSTS)
    environment["COSTTRACK_ALLOWED_HOSTS"] = ",".join([allowed, *hosts])
    environment["DJANGO_SETTINGS_MODULE"] = "costtrack.settings"
    environment["PYTHONUNBUFFERED"] = "1"
    environment[DATA_DIR] = str(folder.path)
    return environment


def command_environment(folder: DataFolder) -> dict[str, str]:
    """The same for one command at a time, which needs no pool of connections."""
    return {**child_environment(folder), "COSTTRACK_DATABASE_POOL": "false"}
