"""Uploaded files: stored in chunks, checked by a dry run, imported once, and deleted."""

import gzip
import io
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from billing.ingest import uploads
from billing.ingest.upload_chunks import unpack
from billing.ingest.uploads import (
    create_upload,
    delete_old_uploads,
    delete_upload,
    list_errors,
    process_upload,
    run_next_step,
    stalled_uploads,
    start_check,
    start_import,
)
from billing.models import IngestBatch, Upload, UploadChunk, UploadError, UsageEvent
from costtrack.errors import ConflictError, InvalidError, NotFoundError
from costtrack.event_files.columns import map_columns
from organizations.models import AuditEntry, Organization
from tests.costtrack.event_files.reading import lines
from tests.costtrack.event_files.test_provider_usage import OPENAI, openai_page
from tests.costtrack.event_files.test_transcripts import USER, message
from tests.usage import NOW, Send, set_price

CSV = "time,model,input_tokens,prompt text\n" + "".join(
    f"2026-10-02 09:00:{n:02},{'small' if n else 'unknown'},{1_000_000 if n < 8 else 'x'},secret {n}\n"
    for n in range(10)
)

Uploaded = Callable[..., Upload]


@pytest.fixture(autouse=True)
def _price(organization: Organization) -> None:
    set_price("small", organization=organization, input="2", output="10")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.ingest.upload_chunks.RECORDS_PER_CHUNK", 4)


@pytest.fixture
def uploaded(organization: Organization) -> Uploaded:
    def _uploaded(content: bytes | str = CSV, to: Organization = organization) -> Upload:
        raw = content.encode() if isinstance(content, str) else content
        return create_upload(organization=to, content=raw, file_name="usage.csv", actor="ada", now=NOW)

    return _uploaded


def check(upload: Upload, mapping: dict[str, str] | None = None) -> Upload:
    recognized = {column.name: column.field for column in map_columns(upload.column_names, mapping or {})}
    start_check(organization=upload.organization, upload_id=upload.pk, mapping=recognized, actor="ada", now=NOW)
    return finish(upload)


def import_file(upload: Upload) -> Upload:
    start_import(organization=upload.organization, upload_id=upload.pk, actor="ada", now=NOW)
    return finish(upload)


def finish(upload: Upload) -> Upload:
    process_upload(upload=upload)
    return Upload.objects.get(pk=upload.pk)


def counts(upload: Upload) -> tuple[int, int, int, int]:
    return upload.accepted, upload.duplicates, upload.conflicts, upload.rejected


def test_a_check_shows_what_the_import_then_stores(uploaded: Uploaded) -> None:
    upload = check(uploaded())

    assert (upload.state, upload.records, upload.format) == ("checked", 10, "csv")
    assert counts(upload) == (8, 0, 0, 2)
    assert (upload.unpriced, upload.unpriced_models, upload.cost_usd) == (1, ["unknown"], Decimal(14))
    assert [(error.location, error.field, error.message) for error in list_errors(upload)] == [
        ("line 10", "input_tokens", "'x' is not a number."),
        ("line 11", "input_tokens", "'x' is not a number."),
    ]
    assert not UsageEvent.objects.exists()

    upload = import_file(upload)
    assert (upload.state, counts(upload)) == ("imported", (8, 0, 0, 2))
    assert UsageEvent.objects.count() == 8
    assert {batch.format for batch in IngestBatch.objects.all()} == {"upload"}
    assert not UploadChunk.objects.exists()
    assert [entry.action for entry in AuditEntry.objects.order_by("id")] == [
        *("upload.created", "upload.checked", "upload.import_started", "upload.imported")
    ]


def test_a_file_that_is_uploaded_again_is_all_duplicates_and_unmapped_columns_are_not_stored(
    uploaded: Uploaded,
) -> None:
    import_file(check(uploaded()))
    again = check(uploaded(gzip.compress(CSV.encode())))
    assert counts(again) == (0, 8, 0, 2)
    assert counts(import_file(again)) == (0, 8, 0, 2)
    assert "secret" not in json.dumps(list(UsageEvent.objects.values()), default=str)


def test_another_worker_continues_where_one_has_died(
    uploaded: Uploaded, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = check(uploaded())
    start_import(organization=organization, upload_id=upload.pk, actor="ada", now=NOW)
    run_next_step(upload=upload, now=NOW)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(uploads, "_count", die)  # after the events of the step are written
    with pytest.raises(KeyboardInterrupt):
        run_next_step(upload=upload, now=NOW)
    assert (UsageEvent.objects.count(), Upload.objects.get().position) == (4, 4)
    monkeypatch.undo()

    (stalled,) = stalled_uploads(NOW + timedelta(minutes=2))
    assert counts(finish(stalled)) == (8, 0, 0, 2)
    assert UsageEvent.objects.count() == 8


def test_an_error_ends_the_upload_as_failed(uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(uploads, "_process", fail)
    assert check(uploaded()).state == "failed"


def test_a_file_can_be_checked_again_with_other_columns(uploaded: Uploaded) -> None:
    first = check(uploaded(), {"input_tokens": "output_tokens"})
    assert first.cost_usd == Decimal(70)
    second = check(first, {"prompt text": "metadata.note"})
    assert second.cost_usd == Decimal(14)
    assert UploadError.objects.count() == 2


def test_parquet_and_usage_exports_are_imported(uploaded: Uploaded, send: Send) -> None:
    file = io.BytesIO()
    parquet.write_table(pa.table({"time": [NOW], "model": ["small"], "input_tokens": [1_000_000]}), file)
    assert check(uploaded(file.getvalue())).cost_usd == 2
    export = check(uploaded(lines(openai_page(OPENAI, start=1791504000))))
    assert (counts(export), export.format, uploads.calls_in_period(export)) == ((1, 0, 0, 0), "openai_usage", 0)
    send({"model": "small", "input_tokens": 5, "occurred_at": "2026-10-09T00:00:00Z"})
    assert uploads.calls_in_period(export) == 1


def test_values_of_unknown_fields_are_not_stored(uploaded: Uploaded) -> None:
    upload = uploaded(
        lines({"id": "a", "model": "small", "messages": "secret"}, {"id": "b", "model": "small"}) + b"\nsecret"
    )
    chunk = UploadChunk.objects.get()
    assert "secret" not in repr(unpack(bytes(chunk.content)))
    assert counts(check(upload)) == (1, 0, 0, 2)
    assert [(error.code, error.field) for error in list_errors(upload)] == [
        ("unknown_field", "messages"),
        ("malformed", ""),
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "The file is empty."),
        (b"[]", "The file has no events."),
        (b"time,model\n", "The file has no events."),
        (b"\x89PNG\r\n", "The file is not CSV in UTF-8"),
        (lines(USER, message("msg_1", 5)), "Transcripts contain prompts"),
        (b'[{"id": "a"}, {"id": ]', r"The file is not valid JSON at events\[1\]"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused(content: bytes, fault: str, uploaded: Uploaded) -> None:
    with pytest.raises(InvalidError, match=fault):
        uploaded(content)
    assert not Upload.objects.exists()
    assert not UploadChunk.objects.exists()


def test_sizes_are_bounded(uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_RECORDS", 9)
    with pytest.raises(InvalidError, match=r"more than 200,000 records"):
        uploaded()
    monkeypatch.setattr(uploads, "MAX_INFLATED_BYTES", 1024 * 1024)
    with pytest.raises(InvalidError, match="larger than 1 MB when inflated"):
        uploaded(gzip.compress(b" " * 2 * 1024 * 1024))
    monkeypatch.setattr(uploads, "MAX_OPEN_UPLOADS", 0)
    with pytest.raises(ConflictError, match="files are stored already"):
        uploaded("time,model\n1,m\n")


def test_each_state_allows_only_its_own_steps(uploaded: Uploaded, organization: Organization) -> None:
    upload = uploaded()
    with pytest.raises(ConflictError, match="Check the file first"):
        import_file(upload)
    with pytest.raises(InvalidError, match="occurred_at"):
        check(upload, {"time": ""})
    with pytest.raises(InvalidError, match="not a field"):
        check(upload, {"model": "modle"})
    start_check(organization=organization, upload_id=upload.pk, mapping={"time": "occurred_at"}, actor="a", now=NOW)
    with pytest.raises(ConflictError, match="is being processed"):
        import_file(upload)
    finish(upload)
    start_import(organization=organization, upload_id=upload.pk, actor="ada", now=NOW)
    with pytest.raises(ConflictError, match="is being imported"):
        delete_upload(organization=organization, upload_id=upload.pk, actor="ada")
    finish(upload)
    with pytest.raises(ConflictError, match="Upload it again"):
        check(upload)


def test_files_of_other_organizations_do_not_exist(uploaded: Uploaded, other_organization: Organization) -> None:
    upload = uploaded()
    for act in (start_import, delete_upload):
        with pytest.raises(NotFoundError):
            act(
                organization=other_organization,
                upload_id=upload.pk,
                actor="eve",
                **({"now": NOW} if act is start_import else {}),
            )


def test_content_is_deleted_after_a_day_and_with_the_file(uploaded: Uploaded, organization: Organization) -> None:
    old, running, deleted = uploaded(), check(uploaded()), check(uploaded())
    start_import(organization=organization, upload_id=running.pk, actor="ada", now=NOW)
    delete_upload(organization=organization, upload_id=deleted.pk, actor="ada")

    assert delete_old_uploads(now=NOW + timedelta(hours=23)) == 0
    assert delete_old_uploads(now=NOW + timedelta(hours=25)) == 1
    old.refresh_from_db()
    assert old.state == "failed"
    assert set(UploadChunk.objects.values_list("upload_id", flat=True)) == {running.pk}
    assert finish(running).state == "imported"
    assert Upload.objects.count() == 2
