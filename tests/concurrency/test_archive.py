"""Two runs archive the same month at the same time: its events are in one file, and nothing else is left."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connections

from billing.archives.storage import StorageError
from billing.archiving import Choice, archive_events
from billing.models import EventArchive, UsageEvent
from billing.rollups.fold import fold
from costtrack.errors import ConflictError
from organizations.models import Organization
from tests.billing.rollups.test_retention import AUGUST, DAY, at, is_right
from tests.usage import NOW, Send

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_of_two_runs_archives_a_month(send: Send, organization: Organization, tmp_path: Path) -> None:
    send(*(at(AUGUST + DAY, id=f"e-{number}") for number in range(20)), now=AUGUST + 2 * DAY)
    fold(now=NOW)

    def run(_: int) -> Iterator[int]:
        done: list[int] = []
        try:
            archive_events(
                chosen=Choice([organization], month=AUGUST),
                target=str(tmp_path),
                actor="",
                now=NOW,
                report=lambda archived: done.append(archived.events),
            )
        except (ConflictError, StorageError):  # the other run has deleted its file, or dropped the month
            pass
        finally:
            connections.close_all()
        return iter(done)

    with ThreadPoolExecutor(2) as pool:
        assert [events for done in pool.map(run, range(2)) for events in done] == [20]
    (row,) = EventArchive.objects.all()
    assert (row.events, UsageEvent.objects.count()) == (20, 0)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {row.file_name, row.file_name.replace(".parquet", ".json")}
    assert is_right(organization)
