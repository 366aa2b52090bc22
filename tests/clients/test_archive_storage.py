"""Archived events in S3-compatible storage: moto's server, with Arrow's client as it is."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from billing.archives.storage import storage_of
from billing.archiving import find_problems
from billing.models import EventArchive, UsageEvent
from organizations.models import Organization
from tests.billing.archives.test_archiving import archive_to, is_right, read_all, three_months
from tests.billing.rollups.test_retention import OCTOBER, totals
from tests.examples.environments import python_of
from tests.usage import NOW

__all__ = ["three_months"]

# The first run installs the packages.
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_history"), pytest.mark.timeout(900)]

TARGET = "s3://archive/costtrack/events"


@pytest.fixture
def _bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server with an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = python_of(Path(__file__).parent / "moto_server").with_name("moto_server")
    process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:  # until the server listens
            client.put(f"{url}/archive").raise_for_status()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.usefixtures("_bucket", "three_months")
def test_events_are_archived_in_a_bucket_and_read_again(organization: Organization) -> None:
    before, texts = totals(), read_all(organization)
    assert [each.events for each in archive_to(TARGET, organization, before=OCTOBER)] == [5, 6]
    assert totals() == before
    assert UsageEvent.objects.of(organization).count() == 6
    assert read_all(organization) == texts
    assert is_right(organization)
    assert [problem for _, problem in find_problems(now=NOW, with_digests=True)] == ["", ""]

    row = EventArchive.objects.of(organization).order_by("pk").first()
    assert row is not None
    storage_of(row.location).delete(row.file_name)
    problems = [problem for _, problem in find_problems(now=NOW, with_digests=True)]
    assert sorted(problems) == ["", "The file does not exist."]
