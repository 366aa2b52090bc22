"""Bad records of feeds whose sender cannot be told: kept without prompts, listed, and tried again on demand."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from django.db.models import QuerySet

from billing.ingest import litellm
from billing.ingest.litellm_id_collisions import disambiguate_ids
from billing.ingest.services import IngestResult, ingest
from billing.ingest.types import ParsedBatch, RecordError
from billing.models import QuarantinedRecord
from costtrack.errors import ConflictError
from costtrack.tenancy import tenant_scope
from organizations.models import APICredential, Organization

logger = logging.getLogger(__name__)

MAX_RAW_BYTES = 64 * 1024
MAX_OPEN_RECORDS = 10_000


class _WireFormat(Protocol):
    """What the quarantine needs to know of a format."""

    def parse(self, records: Sequence[msgspec.Raw | bytes], *, now: datetime) -> ParsedBatch: ...

    def without_prompts(self, record: bytes) -> bytes: ...


_FORMATS: Mapping[str, _WireFormat] = {litellm.SOURCE: litellm}


def ingest_or_quarantine(
    *,
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002 - the word of the model
    records: Sequence[msgspec.Raw | bytes],
    now: datetime,
) -> IngestResult:
    """Store the good records and keep the bad and conflicting ones, in one transaction."""
    parsed = _FORMATS[format].parse(records, now=now)
    with tenant_scope(organization.pk):
        disambiguate_ids(organization, parsed.events)
        result = ingest(organization=organization, credential=credential, format=format, parsed=parsed, now=now)
        if result.errors:
            bad = ((bytes(records[error.index]), error) for error in result.errors)
            _keep(organization, [_quarantined(organization, credential, format, raw, error, now) for raw, error in bad])
    return result


def _keep(organization: Organization, records: Sequence[QuarantinedRecord]) -> None:
    new = list(_not_waiting_yet(organization, records))
    room = MAX_OPEN_RECORDS - _open_records(organization)[:MAX_OPEN_RECORDS].count()
    if len(new) > room:
        logger.error("quarantine is full", extra={"organization": organization.slug, "lost": len(new) - room})
    QuarantinedRecord.objects.bulk_create(new[:room])


def _open_records(organization: Organization) -> QuerySet[QuarantinedRecord]:
    return QuarantinedRecord.objects.of(organization).filter(resolved_at=None)


def _not_waiting_yet(organization: Organization, records: Sequence[QuarantinedRecord]) -> Iterator[QuarantinedRecord]:
    """Without those that are there already: a sender that repeats itself must not fill the quarantine. What has no id
    cannot be told from others like it, and is kept each time."""
    ids = {record.record_id for record in records if record.record_id}
    waiting = set(_open_records(organization).filter(record_id__in=ids).values_list("format", "record_id", "raw"))
    for record in records:
        identity = (record.format, record.record_id, record.raw)
        if record.record_id and identity in waiting:
            continue
        waiting.add(identity)
        yield record


def _quarantined(
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002
    raw: bytes,
    error: RecordError,
    now: datetime,
) -> QuarantinedRecord:
    kept = _FORMATS[format].without_prompts(raw)
    text = kept[:MAX_RAW_BYTES].decode(errors="ignore")
    return QuarantinedRecord(
        organization=organization,
        credential=credential,
        format=format,
        received_at=now,
        record_id=_storable(error.id or "", 255),
        raw=text,
        is_cut=text.encode() != kept,
        **_fault(error),
    )


def _fault(error: RecordError) -> dict[str, str]:
    return {
        "field": _storable(error.field or "", 255),
        "code": error.code,
        "message": _storable(error.message, 1000),
    }


def _storable(text: str, length: int) -> str:
    """PostgreSQL's text cannot hold a NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:length]


def retry(*, record: QuarantinedRecord, now: datetime) -> IngestResult:
    """Read the record again, for instance after a price or a parser has changed. Resolved when it is in the ledger;
    else its reason is brought up to date. Raises ConflictError for a record that cannot be retried."""
    with tenant_scope(record.organization_id):
        locked = QuarantinedRecord.objects.of(record.organization).select_for_update().get(pk=record.pk)
        if locked.resolved_at is not None:
            raise ConflictError("The record is in the ledger already.")
        if locked.is_cut:
            raise ConflictError("The record was cut off when it was kept and cannot be read again.")
        parsed = _FORMATS[locked.format].parse([locked.raw.encode()], now=now)
        disambiguate_ids(record.organization, parsed.events)
        # An operator's credential cannot be read inside the organization's scope; its id is all that is needed.
        credential = APICredential(pk=locked.credential_id) if locked.credential_id is not None else None
        result = ingest(
            organization=record.organization,
            credential=credential,
            format=locked.format,
            parsed=parsed,
            now=now,
        )
        changes = {"resolved_at": now} if result.is_complete else _fault(result.errors[0])
        for name, value in changes.items():
            setattr(locked, name, value)
        locked.save(update_fields=list(changes))
    return result
