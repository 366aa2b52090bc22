"""An uploaded file by several workers at once: each step is done once."""

import pytest

from billing.ingest.uploads import create_upload, process_upload, start_check, start_import
from billing.models import Upload, UsageEvent
from organizations.models import Organization
from tests.concurrency.conftest import run_concurrently
from tests.usage import NOW

pytestmark = pytest.mark.django_db(transaction=True)


def test_many_workers_import_each_record_once(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.ingest.upload_chunks.RECORDS_PER_CHUNK", 3)
    content = "time,model,cost\n" + "".join(f"2026-10-02 09:00:{number:02},m,1\n" for number in range(20))
    upload = create_upload(organization=organization, content=content.encode(), file_name="a.csv", actor="ada", now=NOW)
    mapping = {"time": "occurred_at", "model": "model", "cost": "cost_usd"}
    start_check(organization=organization, upload_id=upload.pk, mapping=mapping, actor="ada", now=NOW)
    process_upload(upload=upload)
    start_import(organization=organization, upload_id=upload.pk, actor="ada", now=NOW)

    run_concurrently(lambda _: process_upload(upload=Upload.objects.select_related("organization").get()), range(4))

    done = Upload.objects.get()
    assert (done.state, done.accepted, done.duplicates, done.position) == ("imported", 20, 0, 20)
    assert UsageEvent.objects.count() == 20
