"""The real servers, in a folder of their own that is gone afterwards: PostgreSQL, Redis, and granian."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError

from costtrack import embedded
from costtrack.supervisor.parts import postgres_settings

WORKERS = 2


class Stack:
    """Use as a context manager; `database_url`, `url` and `api_key` are there inside it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ct-bench-"))
        self.folder.chmod(0o755)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self.postgres = embedded.Postgres(self.folder, postgres_settings(memory))
        self.redis = embedded.Redis(self.folder)
        self._web: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.api_key = ""

    @property
    def database_url(self) -> str:
        return self.postgres.url()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def _start(self) -> None:
        self.postgres.start(self.folder / "postgres.log")
        self.redis.start(self.folder / "redis.log")
        self.postgres.wait_until_ready()
        self.redis.wait_until_ready()
        os.environ.update(
            DATABASE_URL=self.postgres.url(),
            REDIS_URL=self.redis.url(),
            COSTTRACK_SECRET_KEY="only-for-benchmarks-" + "x" * 40,
            COSTTRACK_HTTPS="false",
            COSTTRACK_LOG_LEVEL="WARNING",
            DJANGO_SETTINGS_MODULE="costtrack.settings",
        )
        self._prepare()
        self._start_web()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._web is not None:
            os.killpg(self._web.pid, signal.SIGTERM)
            self._web.wait(20)
        for server in (self.redis, self.postgres):
            if server.process is not None:
                embedded.stop(server.process)
        embedded.remove_sockets(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare(self) -> None:
        import django

        django.setup()
        from django.core.management import call_command

        from organizations.models import Organization
        from organizations.services.credentials import issue_credential
        from organizations.types import Scope

        call_command("migrate", verbosity=0)
        call_command("import_prices", verbosity=0)
        organization = Organization.objects.create(slug="bench", name="Bench")
        self.organization_id = organization.pk
        self.api_key = issue_credential(
            organization=organization, name="bench", scopes=list(Scope), actor="benchmarks"
        ).api_key

    def _start_web(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", str(WORKERS), "--no-ws", "costtrack.wsgi:application"]
        with (self.folder / "web.log").open("ab") as log:
            self._web = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5).close()
            except (URLError, ConnectionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return
