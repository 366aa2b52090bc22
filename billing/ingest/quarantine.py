"""Quarantine for unreadable records of senders that cannot handle errors: stored without prompts, for a retry."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from django.db.models import QuerySet

from billing.ingest import cloudevents, langfuse, litellm, otlp
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
    """The functions of a format that the quarantine uses."""

    def parse(self, records: Sequence[msgspec.Raw | bytes], *, now: datetime) -> ParsedBatch: ...

    def without_prompts(self, record: bytes) -> bytes: ...


_FORMATS: Mapping[str, _WireFormat] = {
    cloudevents.FORMAT: cloudevents,
    langfuse.SOURCE: langfuse,
    litellm.SOURCE: litellm,
    otlp.SOURCE: otlp,
}


def ingest_or_quarantine(
    *,
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002 - named like the model field
    records: Sequence[msgspec.Raw | bytes],
    now: datetime,
    id_prefix: str | None = None,
) -> IngestResult:
    """Store the valid records and quarantine the invalid and conflicting ones, in one transaction. `id_prefix` is that
    of `ingest`."""
    parsed = _FORMATS[format].parse(records, now=now)
    with tenant_scope(organization.pk):
        if format == litellm.SOURCE:
            disambiguate_ids(organization, parsed.events)
        result = ingest(
            organization=organization,
            credential=credential,
            format=format,
            parsed=parsed,
            now=now,
            id_prefix=id_prefix,
        )
        _quarantine(organization, credential, format, result.errors, lambda index: bytes(records[index]), now)
    return result


def ingest_parsed_or_quarantine(
    *,
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002 - named like the model field
    parsed: ParsedBatch,
    raw: Callable[[int], bytes],
    now: datetime,
) -> IngestResult:
    """Store events, then quarantine the records of errors and conflicts. `raw` returns the record at an index."""
    result = ingest(organization=organization, credential=credential, format=format, parsed=parsed, now=now)
    if result.errors:
        with tenant_scope(organization.pk):
            _quarantine(organization, credential, format, result.errors, raw, now)
    return result


def _quarantine(
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002
    errors: Sequence[RecordError],
    raw: Callable[[int], bytes],
    now: datetime,
) -> None:
    if errors:
        records = [_quarantined(organization, credential, format, raw(error.index), error, now) for error in errors]
        _store(organization, records)


def _store(organization: Organization, records: Sequence[QuarantinedRecord]) -> None:
    new = list(_without_repetitions(organization, records))
    free_slots = MAX_OPEN_RECORDS - _open_records(organization)[:MAX_OPEN_RECORDS].count()
    if len(new) > free_slots:
        logger.error("quarantine is full", extra={"organization": organization.slug, "lost": len(new) - free_slots})
    QuarantinedRecord.objects.bulk_create(new[:free_slots])


def _open_records(organization: Organization) -> QuerySet[QuarantinedRecord]:
    return QuarantinedRecord.objects.of(organization).filter(resolved_at=None)


def _without_repetitions(
    organization: Organization, records: Sequence[QuarantinedRecord]
) -> Iterator[QuarantinedRecord]:
    """Yield the records that are not in the quarantine yet, so that repeated requests do not fill it.

    Records without an id cannot be compared and are stored each time.
    """
    ids = {record.record_id for record in records if record.record_id}
    seen = set(_open_records(organization).filter(record_id__in=ids).values_list("format", "record_id", "raw"))
    for record in records:
        identity = (record.format, record.record_id, record.raw)
        if record.record_id and identity in seen:
            continue
        seen.add(identity)
        yield record


def _quarantined(
    organization: Organization,
    credential: APICredential | None,
    format: str,  # noqa: A002
    raw: bytes,
    error: RecordError,
    now: datetime,
) -> QuarantinedRecord:
    stored = _FORMATS[format].without_prompts(raw)
    text = stored[:MAX_RAW_BYTES].decode(errors="ignore")
    return QuarantinedRecord(
        organization=organization,
        credential=credential,
        format=format,
        received_at=now,
        record_id=_storable(error.id or "", 255),
        raw=text,
        is_truncated=text.encode() != stored,
        **_fault(error),
    )


def _fault(error: RecordError) -> dict[str, str]:
    return {
        "field": _storable(error.field or "", 255),
        "code": error.code,
        "message": _storable(error.message, 1000),
    }


def _storable(text: str, length: int) -> str:
    """Replace NUL, which PostgreSQL's text cannot hold, and cut the text."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:length]


def retry(*, record: QuarantinedRecord, now: datetime) -> IngestResult:
    """Parse and store the record again, for instance after a price or a parser has changed.

    The record is resolved if it is in the ledger afterwards; else its reason is updated. Raises ConflictError for a
    record that cannot be retried.
    """
    with tenant_scope(record.organization_id):
        locked = QuarantinedRecord.objects.of(record.organization).select_for_update().get(pk=record.pk)
        if locked.resolved_at is not None:
            raise ConflictError("The record is already in the ledger.")
        if locked.is_truncated:
            raise ConflictError("The stored record is incomplete and cannot be retried.")
        parsed = _FORMATS[locked.format].parse([locked.raw.encode()], now=now)
        if locked.format == litellm.SOURCE:
            disambiguate_ids(record.organization, parsed.events)
        # An operator's credential cannot be read inside the organization's tenant scope; only its id is needed.
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
