"""Files of usage that are uploaded in the admin: stored in chunks, checked by a dry run, and imported by workers.

Each step handles one chunk in a transaction with its counts and position, so any worker can continue after another one
has died, without losing or counting anything twice. What is uploaded is deleted with the import, or after a day.
"""

import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice

from django.conf import settings
from django.db import OperationalError

from billing.ingest import json_events
from billing.ingest.services import IngestResult, dry_run, ingest
from billing.ingest.types import ParsedBatch, RecordError
from billing.ingest.upload_chunks import StoredRecord, chunks, mapped_columns, stored_records, unpack
from billing.models import Upload, UploadChunk, UploadError, UsageEvent
from billing.models.uploads import UploadQuerySet
from billing.types import EventKind, UploadState
from costtrack.clock import utc_now
from costtrack.errors import ConflictError, InvalidError, NotFoundError
from costtrack.event_files import EventFile, FileError, FileFormat, ReadOptions, Record
from costtrack.event_files.columns import is_field
from costtrack.event_files.event_file import inflated
from costtrack.event_files.table_file import parquet_size
from costtrack.event_files.types import generated_id_prefix, with_id
from costtrack.jobs import enqueue_on_commit
from costtrack.tenancy import tenant_scope
from organizations import audit
from organizations.models import Organization

logger = logging.getLogger(__name__)

MAX_RECORDS = 200_000
MAX_INFLATED_BYTES = 200 * 1024 * 1024
MAX_OPEN_UPLOADS = 10
MAX_ERRORS = 10_000
STORED_FOR = timedelta(days=1)
FORMAT = "upload"
_STALLED_AFTER = timedelta(minutes=1)
_MAX_BUCKET = timedelta(days=1)
_TASK_SECONDS = 10.0
_NDJSON = "application/x-ndjson"
_TOO_LARGE = f"The file has more than {MAX_RECORDS:,} records. Send it with `costtrack events send`."
_TRANSCRIPT = (
    "Transcripts contain prompts and answers. Send them with `costtrack events send`, which leaves these on your "
    "machine."
)


def create_upload(*, organization: Organization, content: bytes, file_name: str, actor: str, now: datetime) -> Upload:
    """Store a file to be checked. Raises InvalidError with the reason if it cannot be read, is a transcript or has too
    many records, ConflictError if too many files are stored already."""
    if not content:
        raise _refused("The file is empty.")
    with tenant_scope(organization.pk):
        if Upload.objects.of(organization).filter(chunks__isnull=False).distinct().count() >= MAX_OPEN_UPLOADS:
            raise ConflictError(
                f"{MAX_OPEN_UPLOADS} files are stored already. Import or delete one first.", code="too_many_uploads"
            )
        try:
            with inflated(io.BytesIO(content), max_bytes=MAX_INFLATED_BYTES) as binary:
                file = EventFile(binary, ReadOptions(now=now))
                if file.format.is_transcript:
                    raise _refused(_TRANSCRIPT)
                if content.startswith(b"PAR1"):
                    _check_parquet(*parquet_size(binary))
                upload = Upload.objects.create(
                    organization=organization,
                    created_at=now,
                    touched_at=now,
                    actor=actor,
                    file_name=file_name[-255:] or "file",
                    size=len(content),
                    digest=file.digest,
                    format=file.format.value,
                    records=0,
                    column_names=file.column_names if file.format.has_columns else [],
                )
                upload.records = _store(upload, stored_records(file))
        except FileError as error:
            raise _refused(f"The file {error}.") from error
        if not upload.records:
            raise _refused("The file has no events.")
        upload.save()
        _audit(upload, "upload.created", actor, records=upload.records, format=upload.format)
    return upload


def _check_parquet(rows: int, size: int) -> None:
    if rows > MAX_RECORDS or size > MAX_INFLATED_BYTES:
        raise _refused(_TOO_LARGE)


def _refused(message: str) -> InvalidError:
    return InvalidError(message, param="file")


def _store(upload: Upload, records: Iterable[StoredRecord]) -> int:
    first = 0
    for count, content in chunks(records):
        if first + count > MAX_RECORDS:
            raise _refused(_TOO_LARGE)
        UploadChunk.objects.create(organization=upload.organization, upload=upload, first=first, content=content)
        first += count
    return first


def preview(upload: Upload, *, limit: int) -> list[Record]:
    """Return the first records as they would be imported, none after the import."""
    return [stored.record(mapped_columns(upload.column_names, upload.mapping)) for stored in first_rows(upload, limit)]


def first_rows(upload: Upload, limit: int) -> list[StoredRecord]:
    chunk = UploadChunk.objects.of(upload.organization).filter(upload=upload, first=0).first()
    return [] if chunk is None else list(islice(unpack(bytes(chunk.content)), limit))


def start_check(
    *, organization: Organization, upload_id: int, mapping: Mapping[str, str], actor: str, now: datetime
) -> Upload:
    """Enqueue a dry run with these fields for the columns. Raises InvalidError, ConflictError while the file is being
    processed or after its import."""
    with tenant_scope(organization.pk):
        upload = _lock(organization, upload_id)
        _check_stored(upload)
        upload.mapping = {name: mapping.get(name, "") for name in upload.column_names}
        for name, field in upload.mapping.items():
            if field and not is_field(field):
                raise InvalidError(f"{name}: {field} is not a field of an event.")
        if upload.column_names and "occurred_at" not in upload.mapping.values():
            raise InvalidError("Choose the column with the time of the calls (occurred_at).")
        _begin(upload, UploadState.CHECKING, now)
        _audit(upload, "upload.checked", actor)
    return upload


def start_import(*, organization: Organization, upload_id: int, actor: str, now: datetime) -> Upload:
    """Enqueue the import of a file that has been checked. Raises ConflictError in any other state."""
    with tenant_scope(organization.pk):
        upload = _lock(organization, upload_id)
        _check_stored(upload)
        if upload.state != UploadState.CHECKED:
            raise ConflictError("Check the file first.", code="not_checked")
        _begin(upload, UploadState.IMPORTING, now)
        _audit(upload, "upload.import_started", actor, records=upload.records)
    return upload


def delete_upload(*, organization: Organization, upload_id: int, actor: str) -> None:
    """Delete a file. What was imported of it stays. Raises ConflictError while it is being imported."""
    with tenant_scope(organization.pk):
        upload = _lock(organization, upload_id)
        if upload.state == UploadState.IMPORTING:
            raise ConflictError("The file is being imported.", code="upload_is_running")
        _audit(upload, "upload.deleted", actor)
        _delete_content(upload)
        UploadError.objects.of(organization).filter(upload=upload).delete()
        upload.delete()


def delete_old_uploads(*, now: datetime) -> int:
    """Delete the content of files that were uploaded more than a day ago; return their number. A running import is
    finished first."""
    deleted = 0
    old = Upload.objects.filter(created_at__lt=now - STORED_FOR, chunks__isnull=False).distinct()
    for upload in old.exclude(state=UploadState.IMPORTING).select_related("organization"):
        with tenant_scope(upload.organization_id):
            current = _lock(upload.organization, upload.pk)
            if current.state != UploadState.IMPORTING:
                _delete_content(current)
                Upload.objects.of(upload.organization).filter(pk=upload.pk).exclude(
                    state__in=(UploadState.IMPORTED, UploadState.FAILED)
                ).update(state=UploadState.FAILED, finished_at=now)
                deleted += 1
    return deleted


def stalled_uploads(now: datetime) -> UploadQuerySet:
    """Return running uploads of all organizations that no worker has touched lately."""
    return Upload.objects.unfinished().filter(touched_at__lt=now - _STALLED_AFTER).select_related("organization")


def process_upload(*, upload: Upload, seconds: float = _TASK_SECONDS) -> None:
    """Do steps for some seconds, and enqueue the task again if there are more. An error that is not the database's ends
    the upload as failed."""
    began = utc_now()
    try:
        while (now := utc_now()) - began < timedelta(seconds=seconds):
            current = run_next_step(upload=upload, now=now)
            if current is None or not UploadState(current.state).is_running:
                return
    except OperationalError:
        raise
    except Exception:
        logger.exception("upload failed", extra={"upload": upload.pk})
        with tenant_scope(upload.organization_id):
            running = Upload.objects.of(upload.organization).unfinished().filter(pk=upload.pk)
            running.update(state=UploadState.FAILED.value, finished_at=utc_now())
        return
    _enqueue(upload)


def run_next_step(*, upload: Upload, now: datetime) -> Upload | None:
    """Check or import the next chunk, and return the upload; None if another worker has locked it."""
    organization = upload.organization
    with tenant_scope(organization.pk):
        rows = Upload.objects.of(organization).select_for_update(skip_locked=True)
        current = rows.filter(pk=upload.pk).first()
        if current is None or not UploadState(current.state).is_running:
            return current
        current.organization = organization
        chunk = UploadChunk.objects.of(organization).filter(upload=current, first=current.position).first()
        if chunk is not None:
            _process(current, unpack(bytes(chunk.content)), now)
        current.touched_at = now
        if chunk is None or current.position >= current.records:
            _finish(current, now)
        current.save()
    return current


@dataclass(frozen=True, slots=True)
class _Parsed:
    """The events of a chunk and the records that they come from, by their index there; the errors of the others."""

    batch: ParsedBatch
    records: list[tuple[int, Record]]
    faults: list[UploadError]


def _process(upload: Upload, stored: list[StoredRecord], now: datetime) -> None:
    parsed = _parse(upload, stored, now)
    organization = upload.organization
    for event in parsed.batch.events:
        at = event.event.occurred_at or now
        upload.first_at = min(upload.first_at or at, at)
        upload.last_at = max(upload.last_at or at, at)
    if upload.state == UploadState.CHECKING:
        result = dry_run(organization=organization, credential=None, parsed=parsed.batch, now=now)
        upload.cost_usd += Decimal(result.cost_usd or 0)
        upload.unpriced_models = sorted({*upload.unpriced_models, *(result.unpriced_models or [])})[:100]
    else:
        result = ingest(organization=organization, credential=None, format=FORMAT, parsed=parsed.batch, now=now)
    _count(upload, result, len(parsed.faults))
    errors = [*parsed.faults, *(_error(upload, parsed.records[error.index], error) for error in result.errors)]
    free = max(MAX_ERRORS - UploadError.objects.of(organization).filter(upload=upload).count(), 0)
    UploadError.objects.bulk_create(sorted(errors, key=lambda error: error.index)[:free])
    upload.position += len(stored)


def _parse(upload: Upload, stored: list[StoredRecord], now: datetime) -> _Parsed:
    columns = mapped_columns(upload.column_names, upload.mapping)
    prefix = generated_id_prefix(upload.digest)
    records: list[tuple[int, Record]] = []
    faults: list[UploadError] = []
    for index, item in enumerate(stored, start=upload.position):
        record = item.record(columns)
        try:
            if not record.fault:
                records.append((index, with_id(record, f"{prefix}{index}")))
                continue
            error = RecordError(index=index, field=record.field or None, code="invalid", message=record.fault)
        except ValueError:
            error = RecordError(index=index, code="malformed", message="Not valid JSON.")
        faults.append(_error(upload, (index, record), error))
    body = b"\n".join(record.json for _, record in records)
    batch = (
        json_events.parse(body, content_type=_NDJSON, max_events=settings.INTAKE_MAX_EVENTS, now=now)
        if records
        else ParsedBatch(events=[], errors=[])
    )
    return _Parsed(batch, records, faults)


def _error(upload: Upload, located: tuple[int, Record], error: RecordError) -> UploadError:
    index, record = located
    event_id = error.id or ""
    return UploadError(
        organization=upload.organization,
        upload=upload,
        index=index,
        location=record.location[:255],
        event_id="" if event_id.startswith(generated_id_prefix(upload.digest)) else event_id,
        field=(error.field or "")[:255],
        code=error.code[:64],
        message=error.message[:500],
    )


def _count(upload: Upload, result: IngestResult, faults: int) -> None:
    upload.accepted += result.accepted
    upload.duplicates += result.duplicates
    upload.conflicts += result.conflicts
    upload.rejected += result.rejected + faults
    upload.unpriced += result.unpriced


def _begin(upload: Upload, state: UploadState, now: datetime) -> None:
    """Start a check or an import from the first record."""
    for name in ("position", "accepted", "duplicates", "conflicts", "rejected", "unpriced"):
        setattr(upload, name, 0)
    if state is UploadState.CHECKING:
        upload.cost_usd, upload.unpriced_models, upload.first_at, upload.last_at = Decimal(0), [], None, None
    upload.state, upload.touched_at, upload.finished_at = state.value, now, None
    UploadError.objects.of(upload.organization).filter(upload=upload).delete()
    upload.save()
    _enqueue(upload)


def _finish(upload: Upload, now: datetime) -> None:
    upload.finished_at = now
    if upload.state == UploadState.CHECKING:
        upload.state = UploadState.CHECKED.value
        return
    upload.state = UploadState.IMPORTED.value
    _delete_content(upload)
    counts = {name: getattr(upload, name) for name in ("accepted", "duplicates", "conflicts", "rejected")}
    _audit(upload, "upload.imported", upload.actor, **counts)


def calls_in_period(upload: Upload) -> int:
    """Return how many single calls, up to 1,000, are recorded in the period of the file: an aggregate of a period
    counts such calls again."""
    if not FileFormat(upload.format).is_aggregate or upload.first_at is None or upload.last_at is None:
        return 0
    calls = UsageEvent.objects.of(upload.organization).filter(
        kind=EventKind.MODEL_CALL.value,
        occurred_at__gte=upload.first_at,
        occurred_at__lt=upload.last_at + _MAX_BUCKET,
        flags__isnull=True,
    )
    return calls.order_by("occurred_at")[:1_000].count()


def list_errors(upload: Upload) -> Iterator[UploadError]:
    """Yield the records that are not stored, in the order of the file."""
    errors = UploadError.objects.of(upload.organization).filter(upload=upload)
    yield from errors.order_by("index")


def _lock(organization: Organization, upload_id: int) -> Upload:
    upload = Upload.objects.of(organization).select_for_update().filter(pk=upload_id).first()
    if upload is None:
        raise NotFoundError("The file does not exist.")
    upload.organization = organization
    return upload


def _check_stored(upload: Upload) -> None:
    if UploadState(upload.state).is_running:
        raise ConflictError("The file is being processed.", code="upload_is_running")
    if not UploadChunk.objects.of(upload.organization).filter(upload=upload).exists():
        raise ConflictError("The content of the file is deleted. Upload it again.", code="upload_is_deleted")


def _delete_content(upload: Upload) -> None:
    UploadChunk.objects.of(upload.organization).filter(upload=upload).delete()


def _audit(upload: Upload, action: str, actor: str, **details: str | int) -> None:
    audit.record(
        organization=upload.organization, actor=actor, action=action, subject=upload.file_name[:200], **details
    )


def _enqueue(upload: Upload) -> None:
    enqueue_on_commit("billing.process_upload", upload_id=upload.pk)
