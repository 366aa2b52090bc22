"""`costtrack up`, as a user meets it."""

import json
import os
import signal
import stat
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis

from benchmarks import chaos
from costtrack.embedded import postgres_url, redis_url
from costtrack.queues import Queue
from tests.plain_http import NO_TLS
from tests.stack.running import Running, free_port, is_alive, run

pytestmark = pytest.mark.timeout(300)


def test_it_says_when_it_is_ready_and_where_everything_is(stack: Running) -> None:
    assert stack.lines.count(f"costtrack is ready at {stack.url}") == 1
    ready = httpx.get(f"{stack.url}/readyz", timeout=60, verify=NO_TLS)
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    output = "\n".join(stack.lines)
    for expected in ("operator.key", "/admin/", "logs", " manage --data-dir "):
        assert expected in output
    assert (stack.data / "operator.password").read_text().strip() in output
    assert stack.operator_key not in output


def test_every_queue_has_a_worker_and_folding_and_limits_have_their_own(stack: Running) -> None:
    checks = httpx.get(f"{stack.url}/readyz", timeout=60, verify=NO_TLS).json()["checks"]
    assert {name: checks[f"queue_{name}"]["state"] for name in Queue} == dict.fromkeys(Queue, "running")
    with redis.Redis.from_url(redis_url(stack.data)) as broker:
        workers = [json.loads(broker.get(key) or "") for key in broker.keys("costtrack:worker:*")]
    assert sorted(queue for worker in workers for queue in worker["queues"]) == sorted(Queue)
    assert ["rollups"] in [worker["queues"] for worker in workers]
    assert ["limits"] in [worker["queues"] for worker in workers]


def test_all_processes_together_fit_into_a_small_machine(stack: Running) -> None:
    """The supervisor has neither threads nor connections when it forks: they would not work in a fork."""
    supervisor = stack.supervisor()
    assert (supervisor.num_threads(), supervisor.net_connections("all")) == (1, [])
    names = {process.name() for process in supervisor.children()}
    assert names >= {"web", "worker", "worker-limits", "worker-rollups", "beat"}
    processes = [supervisor, *supervisor.children(recursive=True)]
    assert sum(memory_of(process) for process in processes) < 500 * 1024 * 1024


def memory_of(process: psutil.Process) -> int:
    """Its share of the memory, in bytes. PostgreSQL has processes that end soon."""
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_full_info().pss)
    return 0


def test_the_operators_key_is_private_and_works(stack: Running) -> None:
    key = stack.data / "operator.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_text().splitlines()) == 1
    with stack.client() as client:
        assert client.get("/organizations").status_code == 200
    assert httpx.get(f"{stack.url}/organizations", timeout=60, verify=NO_TLS).status_code == 401


def test_the_operator_can_sign_in_to_the_web_ui(stack: Running) -> None:
    with httpx.Client(base_url=stack.url, follow_redirects=True, timeout=60, verify=NO_TLS) as browser:
        page = browser.get("/admin/")
        form = {
            "login": "operator@costtrack.example",
            "password": (stack.data / "operator.password").read_text().strip(),
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            "next": "/admin/",
        }
        answer = browser.post(page.url, data=form, headers={"Referer": str(page.url)})
    assert answer.status_code == 200
    assert answer.url.path == "/admin/"


def test_management_commands_run_on_the_same_data_meanwhile(stack: Running) -> None:
    finished = run("manage", "--data-dir", str(stack.data), "import_prices")
    assert finished.returncode == 0, finished.stderr
    assert "Nothing changed" in finished.stdout


def test_a_second_up_on_the_same_folder_is_refused_in_one_line(stack: Running) -> None:
    finished = run("up", "--data-dir", str(stack.data))
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith("costtrack: already running on the data folder")
    assert finished.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line(stack: Running, tmp_path: Path) -> None:
    finished = run("up", "--port", str(stack.port), "--data-dir", str(tmp_path / "data"))
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith(f"costtrack: cannot listen on 127.0.0.1, port {stack.port}: address already")
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("service", "title"), [("web", "Web server"), ("postgresql", "PostgreSQL"), ("worker", "Worker")]
)
def test_a_service_that_dies_is_restarted_and_reported(stack: Running, service: str, title: str) -> None:
    before = stack.pid_of(service)
    os.kill(before, signal.SIGKILL)
    assert "(killed by SIGKILL)" in stack.wait_for(title)
    stack.wait_until_replaced(service, before)
    with stack.client() as client:
        assert client.get("/organizations").status_code == 200


def test_a_start_after_a_kill_ends_leftover_processes_and_uses_the_data(stack: Running) -> None:
    """It also repairs policies and grants."""
    key = stack.operator_key
    with stack.client() as client:
        assert client.post("/organizations", json={"name": "Acme Research", "slug": "acme"}).status_code == 201
    with psycopg.connect(postgres_url(stack.data), autocommit=True) as database:
        database.execute("DROP POLICY billing_run_tenant ON billing_run")
    assert tenant_role(stack) == {"ok": False, "state": "incomplete"}
    orphans, services = stack.children(), stack.services()
    stack.stop(signal.SIGKILL)
    assert all(map(is_alive, services))
    stack.up()
    assert stack.lines[0] == (
        "Stopped leftover processes of an earlier costtrack: "
        "beat, worker, worker-limits, worker-rollups, web, redis, postgresql"
    )
    assert [orphan for orphan in orphans if is_alive(orphan)] == []
    assert stack.operator_key == key
    with stack.client() as client:
        assert client.get("/organizations/acme").json()["name"] == "Acme Research"
    assert tenant_role(stack) == {"ok": True, "state": "complete"}


def tenant_role(stack: Running) -> object:
    return httpx.get(f"{stack.url}/readyz", timeout=60, verify=NO_TLS).json()["checks"]["tenant_role"]


def test_sigterm_stops_every_process(stack: Running) -> None:
    children = stack.children()
    assert len(children) > 5
    assert stack.stop(signal.SIGTERM) == 0
    stack.wait_for("costtrack has stopped")
    assert [child for child in children if is_alive(child)] == []
    assert list((stack.data / "pids").iterdir()) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{stack.url}/healthz", verify=NO_TLS)


def test_a_data_folder_that_is_broken_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir(mode=0o700)
    (tmp_path / "postgres" / "PG_VERSION").write_text("9\n")
    finished = run("up", "--port", str(free_port()), "--data-dir", str(tmp_path))
    assert finished.returncode == 1
    assert "was created by PostgreSQL 9" in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_nothing_is_lost_or_counted_twice_while_processes_are_killed(shared_stack: Running) -> None:
    """The short form of `python -m benchmarks chaos`. It comes last, in the data folder of the other tests, so that no
    new one is made. With this seed, PostgreSQL and the web server are killed first."""
    if shared_stack.is_up:
        shared_stack.stop(signal.SIGTERM)
    measured = chaos.run(events=4_000, seed=3, seconds_between_faults=(0.3, 0.8), data=shared_stack.data)
    figures = {figure.name: figure for figure in measured}
    assert [figure.name for figure in figures.values() if figure.is_missed] == []
    assert figures["events"].measured[0] > 3_900
    assert figures["calls granted under the limit"].measured[0] > 30
    assert figures["calls refused by it"].measured[0] > 10
    assert [
        kind for kind in ("PostgreSQL killed", "web server killed") if not any(kind in name for name in figures)
    ] == []
