"""`/metrics`: who may read it, the counters of the processes, and the gauges of the health checks."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.values import MultiProcessValue
from pytest_django import Settings

from billing.limits.refusal import SpendLimitExceededError
from costtrack import metrics_folder
from costtrack.env import Environment, parse_token
from costtrack.health.measures import declared
from costtrack.metrics import exposition, instruments
from costtrack.metrics.allocated import AllocatedDict
from organizations.models import Organization
from tests.conftest import Key
from tests.costtrack.heartbeats import all_well
from tests.limits import set_limit, take
from tests.usage import Send

ROOT = Path(__file__).parent.parent.parent
TOKEN = "metrics-token-of-32-characters-x"
PATH = "/metrics"


@pytest.fixture(autouse=True)
def _all_well(db: None, settings: Settings) -> Iterator[None]:
    settings.METRICS_TOKEN = TOKEN
    all_well()
    exposition.forget_checks()
    yield
    exposition.forget_checks()


def get(authorization: str) -> Any:
    return Client().get(PATH, headers={"Authorization": authorization} if authorization else {})


def samples() -> dict[str, float]:
    """The values by name and labels, as Prometheus reads them: `costtrack_queue_messages{queue="limits"}`."""
    response = get(f"Bearer {TOKEN}")
    assert response.status_code == 200
    exposition.forget_checks()
    return {
        sample.name + "".join(f'{{{name}="{value}"}}' for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def names() -> set[str]:
    """Every name that a query may use."""
    counted = {
        f"{family.name}{suffix}"
        for family in instruments.PROCESS.collect()
        for suffix in {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
    }
    return counted | set(declared)


def names_in(text: str) -> set[str]:
    return set(re.findall(r"costtrack_\w+", text))


def test_without_a_credential_it_is_refused_without_a_query(settings: Settings) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        responses = [get(header) for header in ("", "Bearer wrong", f"Basic {TOKEN}", "Bearer ", f"Bearer {TOKEN}x")]
    assert {(response.status_code, response.content) for response in responses} == {(401, b"")}
    assert all(response["WWW-Authenticate"] == 'Bearer realm="costtrack"' for response in responses)
    assert [query["sql"] for query in queries if "SELECT" in query["sql"]] == []
    settings.METRICS_TOKEN = ""
    assert get("Bearer ").status_code == 401


def test_operators_and_the_token_may_read_it_and_organizations_may_not(key: Key, operator_key: Key) -> None:
    responses = [get(f"Bearer {credential}") for credential in (TOKEN, operator_key.api_key, key.api_key)]
    assert [response.status_code for response in responses] == [200, 200, 404]
    assert responses[0]["Content-Type"].startswith("text/plain; version=")
    assert "no-store" in responses[0]["Cache-Control"]
    newer = Client().get(PATH, headers={"Authorization": f"Bearer {TOKEN}", "Accept": "application/openmetrics-text"})
    assert newer["Content-Type"].startswith("application/openmetrics-text")
    assert newer.content.endswith(b"# EOF\n")


def test_checks_run_once_for_several_scrapes() -> None:
    get(f"Bearer {TOKEN}")
    with CaptureQueriesContext(connection) as queries:
        assert b"costtrack_fold_lag_seconds" in get(f"Bearer {TOKEN}").content
    assert len(queries) == 0


def test_intake_and_limits_are_counted(organization: Organization, send: Send) -> None:
    event = {"id": "a", "model": "no-such-model", "input_tokens": 10}
    set_limit(organization, "1")
    before = samples()
    send(event, {**event, "id": "b"})
    send(event)
    take(organization, "0.75", key="once")
    take(organization, "0.75", key="once")
    with pytest.raises(SpendLimitExceededError):
        take(organization, "0.75")
    after = samples()
    changed = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    expected = {
        'costtrack_events_total{format="json"}{outcome="accepted"}': 2,
        'costtrack_events_total{format="json"}{outcome="duplicate"}': 1,
        'costtrack_events_unpriced_total{format="json"}': 2,
        "costtrack_ingest_seconds_count": 2,
        'costtrack_authorizations_total{answer="granted"}': 1,
        'costtrack_authorizations_total{answer="repeated"}': 1,
        'costtrack_authorizations_total{answer="refused"}': 1,
        "costtrack_authorize_seconds_count": 3,
        "costtrack_unpriced_events": 2,
        "costtrack_unfolded_batches": 1,
        "costtrack_authorizations_open": 1,
        "costtrack_authorizations_reserved_usd": 0.75,
    }
    assert {name: changed.get(name) for name in expected} == expected
    assert after['costtrack_limits{state="all"}'] == 1


def test_every_gauge_is_exposed_when_all_is_well(send: Send) -> None:
    send({"id": "a", "model": "no-such-model", "input_tokens": 10})
    exposed = {name.partition("{")[0] for name in samples()}
    # Nothing has been verified yet, and there is no replica.
    missing = {name for name in declared if not name.startswith("costtrack_replica_")} - exposed
    assert missing == {"costtrack_verified_timestamp_seconds"}
    assert samples()['costtrack_ready{check="queue_rollups"}'] == 1


def test_without_the_database_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "host", "/nowhere")
    exposed = samples()
    assert exposed['costtrack_ready{check="database"}'] == 0
    assert "costtrack_fold_lag_seconds" not in exposed


def test_no_label_has_the_name_of_an_organization(organization: Organization, send: Send) -> None:
    send({"id": "a", "model": "secret-model", "user_id": "secret-user", "input_tokens": 10})
    text = get(f"Bearer {TOKEN}").content.decode()
    assert not {word for word in (organization.slug, organization.name, "secret") if word in text}


def test_processes_share_their_counters_in_a_folder(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(metrics_folder.VARIABLE, str(tmp_path))
    ended = 2**22 + 1  # larger than any process id
    for process in (os.getpid(), ended):
        value = MultiProcessValue(lambda process=process: process)  # type: ignore[no-untyped-call]
        counter = ("counter", "costtrack_events", "costtrack_events_total", ("format",), ("json",), "Records.")
        value(*counter).inc(2)
        gauge = ("gauge", "costtrack_waiting", "costtrack_waiting", (), (), "Requests.")
        value(*gauge, multiprocess_mode="livesum").set(3)
    settings.METRICS_FOLDER = tmp_path
    exposed = samples()
    # What an ended process has counted remains; what it did at its end does not.
    assert exposed['costtrack_events_total{format="json"}'] == 4
    assert exposed["costtrack_waiting"] == 3
    metrics_folder.prepare(8000)
    assert {path.stem for path in tmp_path.glob("*.db")} == {f"counter_{os.getpid()}", f"gauge_livesum_{os.getpid()}"}


def test_counters_have_their_space_on_the_disk_before_it_is_full(tmp_path: Path) -> None:
    counters = AllocatedDict(str(tmp_path / "counter_1.db"))
    status = (tmp_path / "counter_1.db").stat()
    assert status.st_blocks * 512 >= status.st_size > 0
    counters.write_value("a", 1.0, 0.0)  # type: ignore[no-untyped-call]
    counters.close()  # type: ignore[no-untyped-call]


def test_a_process_that_starts_on_a_full_disk_counts_for_itself(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").symlink_to("/dev/full")
    counters = AllocatedDict(str(tmp_path / "counter_1.db"))
    counters.write_value("a", 1.0, 0.0)  # type: ignore[no-untyped-call]
    assert counters.read_value("a") == (1.0, 0.0)  # type: ignore[no-untyped-call]
    counters.close()  # type: ignore[no-untyped-call]
    assert list(tmp_path.iterdir()) == []


def test_the_web_server_has_a_private_folder_for_each_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(metrics_folder.VARIABLE, raising=False)
    metrics_folder.prepare(8000)
    folder = Path(os.environ[metrics_folder.VARIABLE])
    assert (folder.parent, folder.stat().st_mode & 0o777) == (tmp_path, 0o700)
    monkeypatch.delenv(metrics_folder.VARIABLE)
    (tmp_path / f"costtrack-metrics-{os.getuid()}-8001").symlink_to(folder)
    metrics_folder.prepare(8001)
    assert metrics_folder.VARIABLE not in os.environ


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    env = Environment({"FOLDER": str(file), "TOKEN": "short"})
    assert env.folder("FOLDER") is None
    assert env.optional("TOKEN", "", "Longer.", parse_token) == ""
    assert [problem.name for problem in env.problems] == ["FOLDER", "TOKEN"]
    assert env.folder("UNSET") is None
    assert Environment({"FOLDER": str(tmp_path / "new")}).folder("FOLDER") == tmp_path / "new"


def test_dashboard_and_alerts_use_metrics_that_exist() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/costtrack.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    expressions = [rule["expr"] for rule in rules]
    used = set().union(*map(names_in, [*queries, *expressions]))
    assert len(queries) > 20
    assert used - names() == set()
    assert {rule["alert"] for rule in rules if set(rule["annotations"]) != {"summary", "description"}} == set()
    assert {rule["labels"]["severity"] for rule in rules} == {"critical", "warning"}
    documented = names_in((ROOT / "docs/operations.md").read_text(encoding="utf-8"))
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in names()} - documented == set()
    assert documented - names() - {name.removesuffix("_sum") for name in names()} == set()
