"""PostgreSQL and Redis in a folder, with one prepared database to clone. A temporary folder is deleted at the end; a
given one remains, with its filled ledgers, for the next run."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from costtrack import embedded
from costtrack.supervisor.services import postgres_settings

PREPARED = "costtrack"
"""The migrated database with prices and organizations, and without events."""
OTHER_ORGANIZATIONS = 5
"""The number of organizations in addition to the one of the API key."""


class Stack:
    """The servers, as a context manager. Inside it, Django in this process uses one of the databases (`use`)."""

    def __init__(self, folder: Path | None = None) -> None:
        self._is_temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="ct-bench-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self.postgres = embedded.Postgres(self.folder, postgres_settings(memory))
        self.redis = embedded.Redis(self.folder)
        self.api_key = ""
        self.other_api_key = ""
        self.organization_id = 0
        self._redis_numbers: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def url(self, database: str) -> str:
        return self.postgres.url(database)

    def redis_url(self, database: str) -> str:
        """Return the URL of the Redis database for a PostgreSQL database; each has its own."""
        number = self._redis_numbers.setdefault(database, len(self._redis_numbers) + 1)
        return f"{self.redis.url()}?db={number}"

    def environment(self, database: str) -> dict[str, str]:
        """Return the environment of programs that use this database."""
        return {
            **os.environ,
            "DATABASE_URL": self.url(database),
            "REDIS_URL": self.redis_url(database),
            "COSTTRACK_DATABASE_POOL": "true",
            "DJANGO_SETTINGS_MODULE": "benchmarks.baseline_settings",
        }

    def clone(self, template: str, database: str) -> None:
        """Create the database again as a copy. There must be no connections to either."""
        from django.db import connections

        connections.close_all()
        names = {"database": sql.Identifier(database), "template": sql.Identifier(template)}
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {database}").format(**names))
            admin.execute(sql.SQL("CREATE DATABASE {database} TEMPLATE {template}").format(**names))

    def has(self, database: str) -> bool:
        """Whether the database exists."""
        with psycopg.connect(self.url("postgres")) as admin:
            return admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone() is not None

    def rename(self, database: str, name: str) -> None:
        """Rename a database. There must be no connections to it."""
        from django.db import connections

        connections.close_all()
        names = {"database": sql.Identifier(database), "name": sql.Identifier(name)}
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin:
            admin.execute(sql.SQL("ALTER DATABASE {database} RENAME TO {name}").format(**names))

    def migrate(self, database: str) -> None:
        """Apply the migrations that the database lacks."""
        from django.core.management import call_command

        self.use(database)
        call_command("migrate", verbosity=0)
        self.use(PREPARED)

    def use(self, database: str) -> None:
        """Let Django in this process use that database from now on."""
        from django.conf import settings
        from django.db import connection, connections

        connections.close_all()
        settings.DATABASES["default"]["NAME"] = database
        connection.settings_dict["NAME"] = database

    def _start(self) -> None:
        self.postgres.start(self.folder / "postgres.log")
        self.redis.start(self.folder / "redis.log")
        self.postgres.wait_until_ready()
        self.redis.wait_until_ready()
        os.environ.update(
            DATABASE_URL=self.url(PREPARED),
            REDIS_URL=self.redis.url(),
            COSTTRACK_SECRET_KEY="only-for-benchmarks-" + "x" * 40,
            COSTTRACK_HTTPS="false",
            COSTTRACK_LOG_LEVEL="ERROR",
            COSTTRACK_DATABASE_POOL="false",
            DJANGO_SETTINGS_MODULE="costtrack.settings",
        )
        self._prepare()

    def _stop(self) -> None:
        for server in (self.redis, self.postgres):
            if server.process is not None:
                embedded.stop(server.process)
        embedded.remove_sockets(self.folder)
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare(self) -> None:
        """Fill the prepared database, unless an earlier run on this folder did."""
        import django

        django.setup()
        if not self._keys.exists():
            self._create_organizations()
        self.migrate(PREPARED)
        keys = json.loads(self._keys.read_text())
        self.organization_id, self.api_key, self.other_api_key = keys

    @property
    def _keys(self) -> Path:
        """The id of the organization that is measured, its API key, and that of the last other organization."""
        return self.folder / "keys.json"

    def _create_organizations(self) -> None:
        from django.core.management import call_command

        from organizations.models import Organization
        from organizations.services.credentials import issue_credential
        from organizations.types import Scope

        call_command("migrate", verbosity=0)
        call_command("import_prices", verbosity=0)
        organizations, issued = [], []
        for number in range(OTHER_ORGANIZATIONS + 1):
            organization = Organization.objects.create(
                slug=f"bench-{number}", name=f"Bench {number}", plan_id="enterprise"
            )
            issued.append(
                issue_credential(organization=organization, name="bench", scopes=list(Scope), actor="benchmarks")
            )
            organizations.append(organization)
        keys = [organizations[0].pk, issued[0].api_key, issued[-1].api_key]
        self._keys.write_text(json.dumps(keys))
