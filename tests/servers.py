"""A pytest plugin: one PostgreSQL and one Redis for the whole test session, from the same wheels as `costtrack up`.

It is loaded with `-p tests.servers`, before pytest-django reads the settings. Workers of pytest-xdist inherit the
addresses. If DATABASE_URL or REDIS_URL is set, that server is used. The user of PostgreSQL must be a superuser.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from costtrack import embedded

# Tests lose their data on a power cut, and may.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "256MB",
}


def _start() -> None:
    folder = Path(tempfile.mkdtemp(prefix="ct-test-"))
    folder.chmod(0o755)
    servers: dict[str, embedded.Postgres | embedded.Redis] = {}
    if not os.environ.get("DATABASE_URL"):
        servers["DATABASE_URL"] = embedded.Postgres(folder, _FAST)
    if not os.environ.get("REDIS_URL"):
        servers["REDIS_URL"] = embedded.Redis(folder)
    processes = [server.start(folder / f"{name}.log") for name, server in servers.items()]

    def stop() -> None:
        for process in processes:
            embedded.stop(process)
        embedded.remove_sockets(folder)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    for name, server in servers.items():
        server.wait_until_ready()
        os.environ[name] = server.url()


os.environ.setdefault("COSTTRACK_SECRET_KEY", "only-for-tests-" + "x" * 50)
os.environ.setdefault("COSTTRACK_HTTPS", "false")
os.environ.setdefault("COSTTRACK_DATABASE_POOL", "false")
os.environ.setdefault("COSTTRACK_LOG_LEVEL", "WARNING")
os.environ["DJANGO_SETTINGS_MODULE"] = "costtrack.settings"
_worker = os.environ.get("PYTEST_XDIST_WORKER")
if _worker is not None:
    # Each worker has a Redis database of its own, as it has one in PostgreSQL: a test may empty it.
    _number = int(_worker.removeprefix("gw")) + 1
    _url = os.environ["REDIS_URL"]
    os.environ["REDIS_URL"] = f"{_url}?db={_number}" if _url.startswith("unix:") else f"{_url.rstrip('/')}/{_number}"
elif not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
    _start()
