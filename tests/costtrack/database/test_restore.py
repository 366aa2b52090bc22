"""A dump that is restored into a cluster without the tenants' role: it fails closed, everything says so, and
`repair_roles` puts it right (docs/restore.md)."""

import io
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.test import Client
from pytest_django import DjangoDbBlocker

from costtrack import embedded, heartbeat
from costtrack.cli import main
from costtrack.database.inspection import Kind
from costtrack.database.repair import find_problems
from costtrack.settings import BASE_DIR
from organizations.models import Organization, User
from organizations.types import Scope
from tests import database
from tests.conftest import Key, make_key
from tests.costtrack.database.conftest import Cluster, serving
from tests.costtrack.heartbeats import all_well
from tests.limits import set_limit
from tests.stack.running import run, start
from tests.usage import NOW, send_events

pytestmark = pytest.mark.django_db(transaction=True)

COMMANDS = (
    ("rollups", "verify"),
    ("limits", "verify"),
    ("import_prices",),
    ("price_unpriced",),
    ("reprice", "--organization", "acme", "--from", "2026-11-01", "--to", "2026-11-30"),
    ("load_demo",),
    ("bootstrap", "--email", "x@acme.example", "--key-file", "none", "--password-file", "none"),
)


@pytest.fixture(autouse=True)
def _workers() -> Iterator[None]:
    heartbeat.client.cache_clear()
    yield
    heartbeat.client.cache_clear()


@dataclass(frozen=True)
class Dumped:
    """A dump, with credentials and the operator of the dumped database, and what `pg_restore` said when a cluster had
    no role of tenants."""

    file: Path
    key: Key
    other_key: Key
    operator: User
    pg_restore: "subprocess.CompletedProcess[str]"


_TEMPLATE = "restored_without_role"


@pytest.fixture(scope="module")
def dumped(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    second_server: embedded.Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Dumped]:
    """Acme has spent 3 USD of 5, Globex 7; one of Acme's calls is not folded yet. It is dumped and restored once: each
    takes two seconds of a processor."""
    cluster = Cluster(second_server)
    cluster.forget()
    with django_db_blocker.unblock():
        acme, globex = (Organization.objects.create(slug=name, name=name.title()) for name in ("acme", "globex"))
        key, other_key = make_key(acme, *Scope), make_key(globex, *Scope)
        operator = User.objects.create_superuser("operator@costtrack.example", "correct-horse-battery")
        set_limit(acme, "5")
        send_events(acme, {"id": "a", "model": "m", "cost_usd": "2"}, now=NOW)
        send_events(globex, {"id": "secret", "model": "m", "cost_usd": "7"}, now=NOW)
        call_command("rollups", "fold", stdout=io.StringIO())
        send_events(acme, {"id": "b", "model": "m", "cost_usd": "1"}, now=NOW)
        file = cluster.dump(tmp_path_factory.mktemp("dump"))
        database.empty()
        connection.close()
    pg_restore = cluster.restore(file)
    cluster.rename_to(_TEMPLATE)
    yield Dumped(file, key, other_key, operator, pg_restore)
    with cluster.superuser() as admin:
        admin.execute(f"DROP DATABASE {_TEMPLATE}")


@pytest.fixture
def restored(new_cluster: Cluster, dumped: Dumped) -> Dumped:
    """The dump in a cluster without the tenants' role."""
    new_cluster.forget(template=_TEMPLATE)
    return dumped


def client_of(key: Key) -> Any:
    client = key.client()
    client.raise_request_exception = False
    return client


def spent(key: Key) -> Any:
    response = client_of(key).get("/usage/limits")
    assert response.status_code == 200, response.content
    return [limit["spent_usd"] for limit in response.json()["limits"]]


def event_ids(key: Key) -> set[str]:
    return {event["event_id"] for event in client_of(key).get("/usage/events").json()["results"]}


def tenant_role(client: Client) -> tuple[int, str]:
    all_well()
    response = client.get("/readyz")
    return response.status_code, response.json()["checks"]["tenant_role"]["state"]


def repaired(**options: Any) -> list[str]:
    output = io.StringIO()
    call_command("repair_roles", stdout=output, **options)
    return output.getvalue().splitlines()


def test_a_restore_without_the_role_fails_closed_and_is_reported_until_it_is_repaired(
    restored: Dumped, new_cluster: Cluster, client: Client
) -> None:
    assert restored.pg_restore.returncode == 1
    assert 'role "costtrack_tenant" does not exist' in restored.pg_restore.stderr

    with serving(new_cluster.url):
        api = client_of(restored.key)
        for answer in (
            api.get("/usage/summary"),
            api.post("/usage/events", {"model": "m", "cost_usd": "1"}),
            api.get("/usage/access"),
            api.post("/usage/authorizations", {"estimated_cost_usd": "1"}),
        ):
            assert answer.status_code == 500
            assert b"secret" not in answer.content
        assert tenant_role(client) == (503, "missing")
        client.force_login(restored.operator)
        page = client.get("/admin/health/").content.decode()
        assert "Role missing (1): costtrack_tenant; policies missing" in page
        assert "Run the management command repair_roles." in page
        for arguments in (("migrate",), ("migrate", "--check"), ("check", "--deploy", "--database", "default")):
            options: dict[str, Any] = {} if arguments[0] == "check" else {"skip_checks": False}
            with pytest.raises(SystemCheckError, match=r"Role missing \(1\): costtrack_tenant; .*repair_roles\."):
                call_command(*arguments, stdout=io.StringIO(), **options)
        for command in COMMANDS:
            with pytest.raises(CommandError, match=r"^Role missing \(1\): costtrack_tenant; .*repair_roles\.$"):
                call_command(*command)
        with pytest.raises(CommandError, match="problems found"):
            repaired(check=True)
        assert tenant_role(client) == (503, "missing")

        assert repaired()[0] == "Repaired: role missing (1): costtrack_tenant"
        assert repaired() == ["The tenants' role, its grants and the policies match the migrations."]

        assert tenant_role(client) == (200, "complete")
        call_command("migrate", skip_checks=False, stdout=io.StringIO())
        for name in ("rollups", "limits"):
            call_command(name, "verify", stdout=io.StringIO(), stderr=io.StringIO())
        assert api.post("/usage/events", {"id": "c", "model": "m", "cost_usd": "0.5"}).status_code == 200
        assert spent(restored.key) == ["3.5"]
        assert api.get("/usage/access").json()["allowed"] is True
        assert api.post("/usage/authorizations", {"estimated_cost_usd": "1"}).status_code == 201
        assert api.post("/usage/authorizations", {"estimated_cost_usd": "1"}).status_code == 429
        assert event_ids(restored.key) == {"a", "b", "c"}
        assert event_ids(restored.other_key) == {"secret"}
        assert "repair_roles" not in client.get("/admin/health/").content.decode()


def test_with_the_role_made_first_a_restore_has_no_errors(dumped: Dumped, new_cluster: Cluster) -> None:
    with new_cluster.superuser() as admin:
        admin.execute("CREATE ROLE costtrack_tenant NOLOGIN")
        admin.execute("GRANT costtrack_tenant TO costtrack")
    finished = new_cluster.restore(dumped.file, "--no-privileges", "--exit-on-error")
    assert (finished.returncode, finished.stderr) == (0, "")
    with serving(new_cluster.url):
        assert {problem.kind for problem in find_problems()} == {Kind.TABLE_GRANT}
        repaired()
        assert find_problems() == []
        assert spent(dumped.key) == ["3"]


@pytest.mark.usefixtures("dumped")
def test_a_user_who_may_not_create_roles_sees_the_statements_for_a_superuser(new_cluster: Cluster) -> None:
    new_cluster.forget(may_create_roles=False, template=_TEMPLATE)
    with serving(new_cluster.url):
        with pytest.raises(CommandError) as error:
            repaired()
        lines = str(error.value).splitlines()
        assert lines == [
            "The database user may not create or change roles. As a superuser, run in this database:",
            '    CREATE ROLE "costtrack_tenant" NOLOGIN;',
            '    GRANT "costtrack_tenant" TO "costtrack";',
            "Then run repair_roles again.",
        ]
        with new_cluster.superuser() as admin:
            for line in lines[1:-1]:
                admin.execute(line.strip())
        repaired()
        assert find_problems() == []


@pytest.mark.usefixtures("restored")
def test_tables_of_another_owner_are_named(new_cluster: Cluster) -> None:
    with new_cluster.superuser("restored") as admin:
        admin.execute("ALTER TABLE billing_run OWNER TO postgres")
    output = io.StringIO()
    with serving(new_cluster.url):
        with pytest.raises(CommandError, match="owners are not repaired"):
            call_command("repair_roles", stdout=output)
        assert "Not repaired: tables owned by another user (2): billing_run, billing_run_id_seq" in output.getvalue()


@pytest.mark.usefixtures("restored")
def test_ready_is_taken_back_when_the_role_goes_away_later(new_cluster: Cluster, client: Client) -> None:
    with serving(new_cluster.url):
        repaired()
        assert tenant_role(client) == (200, "complete")
        with new_cluster.superuser("restored") as admin:
            admin.execute("ALTER POLICY billing_run_tenant ON billing_run USING (true)")
            assert tenant_role(client) == (503, "incomplete")
            admin.execute("DROP OWNED BY costtrack_tenant; DROP ROLE costtrack_tenant")
        assert tenant_role(client) == (503, "missing")


def test_a_database_without_tables_is_one_line_of_every_command(new_cluster: Cluster) -> None:
    with serving(new_cluster.url):
        for arguments in COMMANDS:
            with pytest.raises(CommandError, match=r"^The database is not migrated .* management command migrate\.$"):
                call_command(*arguments)
        assert repaired() == ["No migrations are applied yet, so there is nothing to repair. Run migrate."]


@pytest.mark.usefixtures("restored")
def test_migrate_ends_with_an_error_and_names_the_command(new_cluster: Cluster) -> None:
    """As its user runs it."""
    finished = subprocess.run(
        [sys.executable, "manage.py", "migrate"],
        cwd=BASE_DIR,
        env={**os.environ, "DATABASE_URL": new_cluster.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert "Run the management command repair_roles." in finished.stderr
    assert "Traceback" not in finished.stderr


@contextmanager
def database_of(data: Path) -> Iterator[None]:
    """Start the PostgreSQL of a data folder as `costtrack up` does, and work on it meanwhile."""
    server = embedded.Postgres(data, {"archive_mode": "on", "shared_buffers": "32MB"})
    process = server.start(data.with_name("postgresql.log"))
    try:
        server.wait_until_ready()
        with serving(embedded.postgres_url(data)):
            yield
    finally:
        embedded.stop(process)  # archives the last segment
        embedded.remove_sockets(data)


def one_row(query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()


def back_up_meanwhile(action: Callable[[], None], *arguments: str) -> None:
    """Run `costtrack backup`, and the action again and again until it has ended."""
    backup = start("backup", *arguments)
    while backup.poll() is None:
        action()
        with suppress(subprocess.TimeoutExpired):
            backup.wait(0.1)
    output, problem = backup.communicate()
    assert backup.returncode == 0, problem
    assert "Every change from now on is archived" in output


def test_a_data_folder_is_restored_from_a_dump_and_to_a_point_in_time_with_events_flowing(
    dumped: Dumped, tmp_path: Path
) -> None:
    """Both in one test, because each server and each command takes a second."""
    folder = Path(tempfile.mkdtemp(prefix="ct-backup-"))
    data, backups, restored = folder / "data", folder / "backups", folder / "restored"
    dump, organization = str(dumped.file), dumped.key.credential.organization
    assert organization is not None
    sent: list[str] = []

    def send_more() -> None:
        sent.append(f"flowing-{len(sent)}")
        send_events(organization, {"id": sent[-1], "model": "m", "cost_usd": "0.01"}, now=NOW)

    try:
        finished = run("restore", "--no-verify", "--data-dir", str(data), dump)
        assert finished.returncode == 0, finished.stderr
        assert "The ledger has 3 events of 3 batches." in finished.stdout
        assert "First copy the old secret.key" in finished.stdout
        again = run("restore", "--data-dir", str(data), dump)
        assert (again.returncode, again.stderr.count("\n")) == (1, 1)
        assert "has a database already" in again.stderr

        with database_of(data):
            assert find_problems() == []
            assert spent(dumped.key) == ["3"]
            assert event_ids(dumped.other_key) == {"secret"}
            file = tmp_path / "backup.dump"
            backup = run("backup", "--data-dir", str(data), str(file))
            assert backup.returncode == 0, backup.stderr
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert file.read_bytes().startswith(b"PGDMP")
            twice = run("backup", "--data-dir", str(data), str(file))
            assert (twice.returncode, twice.stderr.count("\n")) == (1, 1)

            back_up_meanwhile(send_more, "--data-dir", str(data), "--keep", "1", str(backups))
            stored = len(sent)
            (point,) = one_row("SELECT clock_timestamp()")
            send_more()
        assert {path.suffix for path in (backups / "wal").iterdir()} == {".gz"}

        arguments = ("--data-dir", str(restored), str(backups))
        finished = run("restore", "--to", point.isoformat(), *arguments)
        assert finished.returncode == 0, finished.stderr
        assert f"The ledger has {3 + stored:,} events of {3 + stored:,} batches." in finished.stdout
        assert "The last batch was received at 2026-11-02 12:00:00 UTC. Later events are missing" in finished.stdout
        assert "Rollups and limits match the ledger." in finished.stdout
        with database_of(restored):
            (events,) = one_row("SELECT array_agg(event_id) FROM billing_usageevent")
            assert set(events) == {"a", "b", "secret", *sent[:stored]}
            assert one_row("SELECT current_setting('archive_command')") == ("true",)
    finally:
        shutil.rmtree(folder)


def test_a_dump_that_does_not_exist_is_named_and_makes_no_folder(tmp_path: Path) -> None:
    missing = tmp_path / "missing.dump"
    finished = run("restore", "--data-dir", str(tmp_path / "data"), str(missing))
    assert (finished.returncode, finished.stderr) == (1, f"costtrack: {missing}: No such file or directory\n")
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_no_dump_leaves_no_database(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ct-restored-"))
    (tmp_path / "x.dump").write_text("not a dump")
    try:
        finished = run("restore", "--data-dir", str(folder / "data"), str(tmp_path / "x.dump"))
        assert finished.returncode == 1
        assert finished.stderr.startswith("costtrack: pg_restore failed: ")
        assert finished.stderr.count("\n") == 1
        assert not (folder / "data" / "postgres").exists()
        assert not (folder / "data" / "restore.new").exists()
    finally:
        shutil.rmtree(folder)


def test_a_backup_folder_without_a_base_backup_before_the_point_in_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    arguments = ["restore", "--data-dir", str(tmp_path / "data"), "--to", "2026-11-30T14:05:00+01:00"]
    assert main([*arguments, str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"costtrack: {tmp_path} has no complete base backup\n"
    base = tmp_path / "base" / "20261130T130501Z"
    base.mkdir(parents=True)
    (base / "backup.json").write_text('{"finished_at": "2026-11-30T13:05:01+00:00", "postgresql": "18"}')
    assert main([*arguments, str(tmp_path)]) == 1
    assert "--to: the first base backup ends at 2026-11-30 13:05:01 UTC" in capsys.readouterr().err
    (tmp_path / "x.dump").touch()
    assert main([*arguments, str(tmp_path / "x.dump")]) == 1
    assert "--to: a dump has only one point in time" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["restore", "--to", "2026-11-30T14:05:00", str(tmp_path)])
    assert "is not a time with its zone" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
