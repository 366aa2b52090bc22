"""Log files stay small, and one line of them says what went wrong."""

from pathlib import Path

import pytest

from costtrack.supervisor import logfiles


def test_a_log_that_has_grown_too_large_is_rotated_and_its_writer_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfiles, "MAX_BYTES", 10)
    log = tmp_path / "web.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"0123456789")
        logfiles.cap(log)
        assert logfiles.size(log) == 10
        writer.write(b"a")
        logfiles.cap(log)
        writer.write(b"new")
    assert (tmp_path / "web.log.1").read_bytes() == b"0123456789a"
    assert log.read_bytes() == b"new"


def test_a_log_stays_if_the_disk_has_no_space_for_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfiles, "MAX_BYTES", 10)
    log, copy = tmp_path / "web.log", tmp_path / "web.log.1"
    log.write_bytes(b"0123456789a")
    copy.symlink_to("/dev/full")
    logfiles.cap(log)
    assert (log.read_bytes(), copy.exists()) == (b"0123456789a", False)
    logfiles.cap(log)
    assert (log.read_bytes(), copy.read_bytes()) == (b"", b"0123456789a")


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    logfiles.cap(tmp_path / "none.log")
    assert logfiles.size(tmp_path / "none.log") == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n\n", "two"),
        ("LOG: starting\nFATAL: data is broken\nLOG: stopped\n", "FATAL: data is broken"),
        ("Traceback:\n  File x\nValueError: no\n", "ValueError: no"),
        (
            "SystemCheckError: some issues:\n\n?: (costtrack.E001) X is wrong\n\tHINT: do y\n",
            "?: (costtrack.E001) X is wrong",
        ),
    ],
)
def test_the_most_informative_line_is_found(tmp_path: Path, text: str, expected: str) -> None:
    log = tmp_path / "setup.log"
    log.write_text("Error: of an earlier time\n" + text)
    assert logfiles.problem(log, len("Error: of an earlier time\n")) == expected
