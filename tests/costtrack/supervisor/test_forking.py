"""Processes that are forks of the supervisor."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from costtrack.supervisor.folder import DataFolder

# A supervisor that forks a module and says how each fork ends. Its arguments are the data folder and the module.
_SUPERVISOR = """
import os, signal, sys
from pathlib import Path
from costtrack.supervisor.folder import DataFolder
from costtrack.supervisor.forking import fork_module

folder, module = DataFolder(Path(sys.argv[1])), sys.argv[2]
with folder.locked():
    signal.signal(signal.SIGTERM, lambda *_: print("the supervisor's own"))
    log = folder.log("worker-limits")
    print("unflushed", end=" ")
    for code in ("0", "3", "text"):
        print(fork_module([module, code], log).wait(60))
    process = fork_module([module, "wait"], log)
    while "waiting" not in log.read_text():
        pass
    print(process.poll(), process.returncode)
    process.send_signal(signal.SIGTERM)
    print(process.wait(60), process.returncode)
    print(fork_module([module, "wait"], log).pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
_MODULE = """
import os, sys, time
argument = sys.argv[1]
if argument == "wait":
    print("waiting", file=sys.stderr)
    time.sleep(300)
leads = os.getpgid(0) == os.getpid()
print(argument, leads, repr(sys.stdin.read()), open("/proc/self/comm").read().strip(), __name__)
sys.exit(argument if argument == "text" else int(argument))
"""


def test_a_fork_runs_a_module_as_a_process_of_its_own(tmp_path: Path) -> None:
    """Its output is in the log, it has the signals of a new process, and the lock of the folder ends with the
    supervisor."""
    (tmp_path / "forked.py").write_text(_MODULE)
    command = [sys.executable, "-c", _SUPERVISOR, str(tmp_path / "data"), "forked"]
    environment = {"PYTHONPATH": ":".join([str(tmp_path), *sys.path])}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    *lines, pid = finished.stdout.splitlines()
    try:
        with DataFolder(tmp_path / "data").locked():
            pass
    finally:
        os.kill(int(pid), signal.SIGKILL)
    assert (finished.stderr, lines) == ("", ["unflushed 0", "3", "1", "None None", "-15 -15"])
    # The last fork may have been ended before it wrote.
    assert (tmp_path / "data" / "logs" / "worker-limits.log").read_text().splitlines()[:5] == [
        "0 True '' worker-limits __main__",
        "3 True '' worker-limits __main__",
        "text True '' worker-limits __main__",
        "text",
        "waiting",
    ]
