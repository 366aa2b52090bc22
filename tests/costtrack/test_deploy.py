"""The files of `deploy/`: image, compose file, systemd units and Kubernetes manifests. Nothing here starts a container;
each command line is parsed by the program that it starts, and compared with the processes of `costtrack up`."""

import configparser
import json
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from celery.bin.beat import beat
from celery.bin.worker import worker
from django.core.management import get_commands, load_command_class

from costtrack import __version__
from costtrack.cli import _parser
from costtrack.env import parse_database_url
from costtrack.queues import Queue
from costtrack.settings import BASE_DIR

DEPLOY = BASE_DIR / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
KUBERNETES = [
    resource
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for resource in yaml.safe_load_all(file.read_text())
]
OPERATIONS = (BASE_DIR / "docs" / "operations.md").read_text()
SETTINGS = (BASE_DIR / "docs" / "settings.md").read_text()
REPLICATION = (BASE_DIR / "docs" / "replication.md").read_text()
GUIDE = (BASE_DIR / "docs" / "deploy.md").read_text()
TAGGED = re.compile(r"(?:[a-z0-9.-]+/)*[a-z0-9-]+:[0-9][\w.-]*")
VERSIONS = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "ConfigMap": "v1",
    "Job": "batch/v1",
    "PodDisruptionBudget": "policy/v1",
    "Kustomization": "kustomize.config.k8s.io/v1beta1",
}


def own_services() -> dict[str, Any]:
    return {name: service for name, service in COMPOSE["services"].items() if service["image"].startswith("costtrack:")}


def unit(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser documents
    parser.read(path)
    return parser["Service"]


def pods() -> Iterator[tuple[str, Any, Any]]:
    """The name, pod and container of each resource that has them."""
    for resource in KUBERNETES:
        if resource["kind"] in ("Deployment", "Job"):
            pod = resource["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            yield resource["metadata"]["name"], pod, container


def documented() -> list[list[str]]:
    """The processes of docs/operations.md, "With servers of your own"."""
    block = OPERATIONS.partition("Then start the processes:\n\n")[2].partition("\n\n")[0]
    return [shlex.split(line) for line in block.splitlines()]


def commands(deployment: str) -> list[list[str]]:
    """The arguments after `python -m` of each process."""
    lines = {
        "compose": lambda: [service["command"] for service in own_services().values()],
        "systemd": lambda: [shlex.split(unit(path)["ExecStart"].replace("%%", "%")) for path in UNITS],
        "kubernetes": lambda: [container["command"] for _, _, container in pods()],
        "image": lambda: [json.loads(CONTAINERFILE.partition("AS costtrack")[2].partition("CMD ")[2].splitlines()[0])],
        "documented": documented,
    }[deployment]()
    simple = []
    for line in lines:
        if line[0] == "sh":
            simple += [shlex.split(part) for part in line[2].split("&&")]
        else:
            simple.append(line)
    assert all(Path(line[0]).name == "python" and line[1] == "-m" for line in simple)
    return [line[2:] for line in simple]


def parse(arguments: list[str]) -> dict[str, Any]:
    """Parse a command line as its program does. Raises for an unknown option or a wrong value."""
    module, *rest = arguments
    if module == "costtrack":
        return vars(_parser().parse_args(rest))
    if module == "django":
        command = load_command_class(get_commands()[rest[0]], rest[0])
        return vars(command.create_parser("django", rest[0]).parse_args(rest[1:])) | {"command": rest[0]}
    assert module == "celery"
    split = [part for argument in rest for part in argument.split("=", 1)]
    assert split[:2] == ["--app", "costtrack.celery"]
    program: click.Command = {"worker": worker, "beat": beat}[split[2]]
    options, _, _ = program.make_parser(click.Context(program)).parse_args(list(split[3:]))
    return options | {"command": split[2]}


@pytest.mark.parametrize("deployment", ["compose", "systemd", "kubernetes", "documented"])
def test_every_command_line_is_valid_and_together_they_are_an_installation(deployment: str) -> None:
    parsed = [parse(line) for line in commands(deployment)]
    workers = [options for options in parsed if options["command"] == "worker"]
    queues = [options["queues"].split(",") for options in workers]
    assert sorted(chain.from_iterable(queues)) == sorted(Queue)
    assert ["rollups"] in queues
    assert ["limits"] in queues
    assert len({options["hostname"] for options in workers}) == len(workers)
    assert all(options["without_heartbeat"] and options["without_mingle"] for options in workers)
    assert [options["command"] for options in parsed].count("beat") == 1
    assert "serve" in {options["command"] for options in parsed}
    if deployment in ("compose", "kubernetes"):
        assert {"migrate", "import_prices"} <= {options["command"] for options in parsed}


def test_the_image_starts_the_web_server_as_a_user_of_its_own_from_what_it_copies() -> None:
    (line,) = commands("image")
    assert parse(line)["command"] == "serve"
    bases = re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE)
    assert len(bases) == 3
    assert all(TAGGED.fullmatch(base) for base in bases)
    stages = re.split(r"^FROM ", CONTAINERFILE, flags=re.MULTILINE)[2:]
    assert [re.findall(r"^USER (\S+)", stage, re.MULTILINE) for stage in stages] == [["10001:10001"], ["postgres"]]
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    allowed = [line[1:] for line in (BASE_DIR / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in sources:
        assert (BASE_DIR / source).exists(), source
        assert any(source == path or source.startswith(f"{path}/") for path in allowed), source


def test_versions_of_images_are_named_and_those_of_costtrack_are_this_release() -> None:
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += [container["image"] for _, _, container in pods()]
    assert all(TAGGED.fullmatch(image) for image in images)
    own = {image for image in images if image.startswith("costtrack")}
    assert own == {f"costtrack:{__version__}", f"costtrack-pgbouncer:{__version__}"}


def test_containers_of_the_compose_file_have_no_rights_that_they_do_not_need() -> None:
    for service in (*own_services().values(), COMPOSE["services"]["pgbouncer"]):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "/tmp" in service["tmpfs"]  # noqa: S108 - in the container
    assert {service["user"] for service in own_services().values()} == {"10001:10001"}
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:8000:8000"]


def test_the_compose_file_uses_services_secrets_and_files_that_exist(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "make-secrets.sh", tmp_path)
    contents: list[dict[str, str]] = []
    for _ in range(2):
        subprocess.run([tmp_path / "make-secrets.sh"], check=True)
        contents.append({file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()})
    assert contents[0] == contents[1]
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert set(contents[0]) == set(COMPOSE["secrets"])
    assert contents[0]["database_password"].strip() in contents[0]["database_url"]
    assert {secret["file"] for secret in COMPOSE["secrets"].values()} == {f"secrets/{name}" for name in contents[0]}
    for service in COMPOSE["services"].values():
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        assert set(service.get("depends_on", ())) <= set(COMPOSE["services"])
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).is_file()


def test_pgbouncer_is_configured_as_documented() -> None:
    block = OPERATIONS.partition("    [databases]\n")[2].partition("\n\n- ")[0]
    examples = {"listen_addr", "auth_file", "max_client_conn"}
    expected = set(re.findall(r"^    (\w+ = .+)$", block.partition("[pgbouncer]")[2], re.MULTILINE))
    text = (DEPLOY / "pgbouncer" / "pgbouncer.ini").read_text()
    actual = set(re.findall(r"^(\w+ = .+)$", text.partition("[pgbouncer]")[2], re.MULTILINE))
    assert {line for line in actual ^ expected if line.partition(" ")[0] not in examples} == set()


def test_patroni_promises_what_the_documentation_says() -> None:
    """`python -m benchmarks failover` runs it."""
    patroni = yaml.safe_load((DEPLOY / "patroni" / "patroni.yaml").read_text())
    cluster = patroni["bootstrap"]["dcs"]
    assert cluster["synchronous_mode"] is True
    assert cluster["postgresql"]["use_pg_rewind"] is True
    assert "data-checksums" in patroni["bootstrap"]["initdb"]
    assert f"up to `ttl` ({cluster['ttl']} seconds)" in REPLICATION
    # Patroni refuses a lease that it could not renew in time.
    assert cluster["ttl"] >= cluster["loop_wait"] + 2 * cluster["retry_timeout"]
    assert all(set(user) == {"username"} for user in patroni["postgresql"]["authentication"].values())
    address, _ = patroni["postgresql"]["connect_address"].split(":")
    urls = re.findall(r"^ +(DATABASE_\w*URL=\S+host=\S+)$", REPLICATION, re.MULTILINE)
    assert [url.partition("=")[0] for url in urls] == ["DATABASE_URL", "DATABASE_REPLICA_URL"]
    for url, role in zip(urls, ("read-write", "standby"), strict=True):
        options = parse_database_url(url.partition("=")[2])["OPTIONS"]
        assert options["target_session_attrs"] == role
        assert address in options["host"].split(",")


def test_units_stop_cleanly_and_write_nowhere(tmp_path: Path) -> None:
    copies = []
    for path in UNITS:
        service = unit(path)
        assert (service["KillMode"], service["Restart"]) == ("mixed", "always")
        assert int(service["TimeoutStopSec"]) >= (300 if "worker" in path.name else 60)
        assert (service["ProtectSystem"], service["NoNewPrivileges"]) == ("strict", "yes")
        assert service["User"] == "costtrack"
        copies.append(tmp_path / path.name)
        copies[-1].write_text(path.read_text().replace("/srv/costtrack/.venv/bin/python", sys.executable))
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:  # only Linux with systemd has it
        finished = subprocess.run([analyze, "verify", *copies], capture_output=True, text=True, check=False)
        assert (finished.returncode, finished.stderr) == (0, "")


def test_pods_have_no_rights_that_they_do_not_need() -> None:
    for name, pod, container in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["automountServiceAccountToken"] is False
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= set(container["resources"])
        mounted = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == mounted


def test_manifests_name_each_other_rightly() -> None:
    names = {(resource["kind"], resource.get("metadata", {}).get("name")) for resource in KUBERNETES}
    labels = []
    for resource in KUBERNETES:
        assert resource["apiVersion"] == VERSIONS[resource["kind"]]
        if resource["kind"] == "Deployment":
            assert resource["spec"]["selector"]["matchLabels"] == resource["spec"]["template"]["metadata"]["labels"]
            labels.append(resource["spec"]["template"]["metadata"]["labels"])
            component = resource["metadata"]["labels"]["app.kubernetes.io/component"]
            assert (resource["spec"]["replicas"], resource["spec"]["strategy"]["type"]) == (1, "Recreate") or (
                component != "beat"
            )
    for resource in KUBERNETES:
        if resource["kind"] in ("Service", "PodDisruptionBudget"):
            selector = resource["spec"]["selector"]
            assert selector.get("matchLabels", selector) in labels
    (settings,) = (resource["data"] for resource in KUBERNETES if resource["kind"] == "ConfigMap")
    for _, _, container in pods():
        assert [("ConfigMap", source["configMapRef"]["name"]) for source in container["envFrom"]] == [
            ("ConfigMap", "costtrack")
        ]
        assert ("ConfigMap", "costtrack") in names
        if probe := container.get("livenessProbe"):
            (header,) = probe["httpGet"]["httpHeaders"]
            assert header["value"] in settings["COSTTRACK_ALLOWED_HOSTS"].split(",")
            assert probe["httpGet"]["port"] in [port["name"] for port in container["ports"]]
    secrets = {Path(value).name for name, value in settings.items() if name.endswith("_FILE")}
    assert all(f"--from-file={name}=" in GUIDE for name in secrets)
    kustomized = next(resource for resource in KUBERNETES if resource["kind"] == "Kustomization")["resources"]
    files = {path.name for path in (DEPLOY / "kubernetes").iterdir()}
    assert set(kustomized) == files - {"kustomization.yaml", "migrate.yaml"}


def test_every_variable_is_a_documented_setting() -> None:
    variables = {name for service in own_services().values() for name in service["environment"]}
    variables |= {name for resource in KUBERNETES if resource["kind"] == "ConfigMap" for name in resource["data"]}
    variables |= {entry["name"] for _, _, container in pods() for entry in container.get("env", ())}
    example = (DEPLOY / "systemd" / "environment.example").read_text()
    variables |= set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    assert {name for name in variables if f"| `{name.removesuffix('_FILE')}` |" not in SETTINGS} == set()
