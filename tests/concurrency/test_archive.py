"""Two runs archive the same month at the same time: its events are in one file, and nothing else is left."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.db import connections

from billing.archives import files
from billing.archiving import Choice, archive_events, discard_unfinished
from billing.models import EventArchive, UsageEvent
from billing.rollups.fold import fold
from costtrack.errors import ConflictError
from organizations.models import Organization
from tests.billing.rollups.test_retention import AUGUST, DAY, at, is_right
from tests.usage import NOW, Send

_T = TypeVar("_T")

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_of_two_runs_archives_a_month(send: Send, organization: Organization, tmp_path: Path) -> None:
    send(*(at(AUGUST + DAY, id=f"e-{number}") for number in range(20)), now=AUGUST + 2 * DAY)
    fold(now=NOW)

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(_in_thread, lambda: archive(organization, tmp_path)) for _ in range(2)]
    # The other run has deleted the file of this one, or dropped the month.
    errors = [error for error in (run.exception() for run in runs) if error is not None]
    assert all(isinstance(error, ConflictError) for error in errors)
    assert [events for run in runs if run.exception() is None for events in run.result()] == [20]
    assert_archived_once(organization, tmp_path)


def test_a_run_whose_file_is_deleted_while_it_writes_says_so(
    send: Send, organization: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(*(at(AUGUST + DAY, id=f"e-{number}") for number in range(20)), now=AUGUST + 2 * DAY)
    fold(now=NOW)
    open_writer = files.open_writer

    def discard_beside(path: Path) -> Any:
        monkeypatch.undo()
        writer = open_writer(path)
        with ThreadPoolExecutor(1) as pool:  # as another run does before it writes
            pool.submit(_in_thread, lambda: discard_unfinished(organization=organization, month=AUGUST)).result()
        return writer

    monkeypatch.setattr(files, "open_writer", discard_beside)
    with pytest.raises(ConflictError, match="Another run archives 2026-08 of acme"):
        archive(organization, tmp_path)
    assert not list(tmp_path.rglob("*.p*"))
    assert archive(organization, tmp_path) == [20]
    assert_archived_once(organization, tmp_path)


def _in_thread(function: Callable[[], _T]) -> _T:
    try:
        return function()
    finally:
        connections.close_all()


def archive(organization: Organization, target: Path) -> list[int]:
    done: list[int] = []
    archive_events(
        chosen=Choice([organization], month=AUGUST),
        target=str(target),
        actor="",
        now=NOW,
        report=lambda archived: done.append(archived.events),
    )
    return done


def assert_archived_once(organization: Organization, target: Path) -> None:
    (row,) = EventArchive.objects.all()
    assert (row.events, UsageEvent.objects.count()) == (20, 0)
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert names == {row.file_name, row.file_name.replace(".parquet", ".json")}
    assert is_right(organization)
