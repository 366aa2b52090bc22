"""costtrack-litellm's queue on disk: usage survives outages, killed processes and full disks, and arrives in order."""

import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hatchling.builders.wheel import WheelBuilder
from pytest_django.live_server_helper import LiveServer

from billing.admin.dashboard.getting_started.snippets import integrations
from billing.ingest.litellm import payload
from billing.models import QuarantinedRecord, UsageEvent
from organizations.models import Organization
from tests.examples.conftest import LITELLM_ENVIRONMENT, PACKAGE, Programs, Setting
from tests.examples.programs import PRELUDE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(480)]


def test_the_package_installs_from_the_address_that_getting_started_shows(
    live_server: LiveServer, gateway_python: Path, tmp_path: Path
) -> None:
    [static] = WheelBuilder(str(PACKAGE)).build(directory=str(tmp_path), versions=["standard"])
    install = next(
        snippet.text.splitlines()[0]
        for integration in integrations(server=live_server.url, has_api=True)
        for snippet in integration.snippets
        if snippet.id == "snippet-litellm-install"
    )
    program, command, *packages = shlex.split(install)
    assert (program, command, packages[0]) == ("pip", "install", "litellm[proxy]")
    assert packages[1].endswith(f"/{Path(static).name}")
    target = tmp_path / "installed"
    pip = [gateway_python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-cache-dir", "--target", target]
    subprocess.run([*map(str, pip), packages[1]], check=True, timeout=120)
    expected = {path.relative_to(PACKAGE): path.read_text() for path in PACKAGE.glob("costtrack_litellm/*.py")}
    assert {path.relative_to(target): path.read_text() for path in target.glob("costtrack_litellm/*.py")} == expected


def test_the_callback_sends_each_field_that_costtrack_reads() -> None:
    spec = importlib.util.spec_from_file_location("payloads", PACKAGE / "costtrack_litellm" / "payloads.py")
    assert spec is not None
    assert spec.loader is not None
    payloads: Any = importlib.util.module_from_spec(spec)
    sys.modules["payloads"] = payloads
    spec.loader.exec_module(payloads)

    def fields(struct: type[msgspec.Struct]) -> set[str]:
        return set(struct.__struct_fields__)

    nested = {"metadata", "model_parameters", "error_information"}
    assert {*payloads.PAYLOAD_FIELDS, *nested} == fields(payload.Payload) - {"end_user_as_user"}
    assert set(payloads.METADATA_FIELDS) == fields(payload.Metadata)
    assert set(payloads.MODEL_PARAMETERS) == fields(payload.ModelParameters)
    assert set(payloads.ERROR_FIELDS) == fields(payload.ErrorInformation)


def test_a_killed_process_loses_no_call_that_it_has_stored(
    run: Programs, setting: Setting, reporting: dict[str, str], gateway_python: Path, tmp_path: Path
) -> None:
    """The relay is shut until the process is dead; the next one sends what the first one has stored."""
    program = f"""{PRELUDE}
callback = CosttrackCallback()
litellm.callbacks = [callback]

async def main():
    for _ in range(20):
        await call()
    while len(callback.reporter._open_queue()) < 20:
        await asyncio.sleep(0.01)
    print("stored", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    environment = {**setting.environment, **reporting, "HOME": str(tmp_path), **LITELLM_ENVIRONMENT}
    setting.relay.is_open.clear()
    with subprocess.Popen(
        [gateway_python, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stored\n"
        os.kill(process.pid, signal.SIGKILL)
    setting.relay.is_open.set()
    run("await callback.aclose()", **reporting)
    assert UsageEvent.objects.count() == 20


_REPORT_50_CALLS = """
import os
from costtrack_litellm import callback
from costtrack_litellm.payloads import Usage

for number in range(50):
    usage = {"id": f"{os.getpid()}-{number}", "model": "fine", "call_type": "acompletion", "startTime": 1.7e9}
    callback.reporter.put(Usage.of({**usage, "status": "success", "metadata": {}}))
"""


def test_processes_share_a_folder_and_only_one_of_them_sends(
    run: Programs, setting: Setting, reporting: dict[str, str]
) -> None:
    results = run(
        """
        import subprocess, sys
        from costtrack_litellm.disk_queue import SenderLock
        lock = SenderLock(callback.settings.queue_folder)
        assert lock.acquire()
        others = [subprocess.Popen([sys.executable, "-c", os.environ["PROGRAM"]]) for _ in range(2)]
        assert [other.wait() for other in others] == [0, 0]
        results.append(len(callback.reporter._open_queue()))
        lock.release()
        callback.reporter._start()
        while callback.reporter.sent < 100:
            await asyncio.sleep(0.01)
        results.append(len(callback.reporter._open_queue()))
        """,
        **reporting,
        PROGRAM=_REPORT_50_CALLS,
    )
    assert results == [100, 0]
    received = list(UsageEvent.objects.order_by("id").values_list("event_id", flat=True))
    for process in {name.partition("-")[0] for name in received}:
        numbers = [int(name.partition("-")[2]) for name in received if name.startswith(process)]
        assert sorted(numbers) == list(range(50))


def test_a_full_queue_takes_more_when_costtrack_is_back(run: Programs, reporting: dict[str, str]) -> None:
    run(
        """
        import httpx
        from costtrack_litellm.payloads import Usage
        relay = os.environ["COSTTRACK_URL"]
        httpx.put(relay + "/shut")
        for number in range(2000):
            usage = {"id": f"call-{number}", "model": "fine", "startTime": 1.7e9, "status": "success"}
            callback.reporter.put(Usage.of({**usage, "metadata": {"spend_logs_metadata": {"text": "x" * 1000}}}))
        assert not callback.reporter.flush(0.5)
        assert callback.settings.queue_folder.joinpath("queue.sqlite3").stat().st_size <= 1 << 20
        httpx.put(relay + "/open")
        while callback.reporter.sent < 2000:
            await asyncio.sleep(0.05)
        """,
        **reporting,
        COSTTRACK_QUEUE_MB="1",
    )
    assert UsageEvent.objects.count() == 2000


def test_a_call_that_costtrack_cannot_read_does_not_keep_others_out(
    run: Programs, reporting: dict[str, str], organization: Organization
) -> None:
    run(
        """
        from costtrack_litellm.payloads import Usage
        for number in range(3):
            usage = {"id": f"call-{number}", "model": "fine", "status": "success", "metadata": {}}
            usage["startTime"] = "never" if number == 1 else 1.7e9
            callback.reporter.put(Usage.of(usage))
        """,
        **reporting,
    )
    assert set(UsageEvent.objects.values_list("event_id", flat=True)) == {"call-0", "call-2"}
    assert QuarantinedRecord.objects.of(organization).count() == 1


def test_a_call_is_not_dropped_because_another_server_refuses_it(run: Programs, reporting: dict[str, str]) -> None:
    results = run(
        """
        import threading
        from http.server import BaseHTTPRequestHandler, HTTPServer
        from costtrack_litellm.payloads import Usage

        class Refusing(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_error(400)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Refusing)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["COSTTRACK_URL"] = f"http://127.0.0.1:{server.server_port}"
        misdirected = CosttrackCallback()
        usage = {"id": "call", "model": "fine", "startTime": 1.7e9, "status": "success", "metadata": {}}
        misdirected.reporter.put(Usage.of(usage))
        results.append(misdirected.reporter.flush(1))
        results.append(len(misdirected.reporter._open_queue()))
        misdirected.reporter.flush = lambda seconds: True
        """,
        **reporting,
    )
    assert results == [False, 1]


def test_a_folder_that_cannot_be_written_is_named_at_the_start(run: Programs, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    results = run(
        """
        os.environ["COSTTRACK_QUEUE"] = os.environ["NO_FOLDER"]
        try:
            CosttrackCallback()
        except ValueError as error:
            results.append(str(error))
        """,
        NO_FOLDER=str(tmp_path / "file" / "queue"),
    )
    assert re.match(r"COSTTRACK_QUEUE is '.*/file/queue', which cannot be used: ", results[0])
