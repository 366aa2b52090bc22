"""The archive of an organization: a ZIP with everything it has, generated while it is sent.

Events and credits are in the format of `POST /usage/events` and `POST /usage/credits`, to send them to another
installation. The other files have the columns of their tables, without secrets.
"""

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from io import StringIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec
from django.db.models import Model, QuerySet, Sum

from billing.exports.cells import text_cell
from billing.exports.ledger_events import export_credits, export_events
from billing.models import (
    Agreement,
    AllocationRule,
    Anomaly,
    AnomalyWindow,
    BillImport,
    BillKey,
    BillRow,
    Commitment,
    Credit,
    IncreaseRequest,
    LimitOverride,
    NotificationAddress,
    Outcome,
    PriceVersion,
    SpendLimit,
    ThresholdEvent,
    WebhookEndpoint,
)
from billing.models.rollups import UsageDay
from costtrack.money import plain
from costtrack.tenancy import tenant_scope
from organizations.models import APICredential, AuditEntry, Membership, Organization, Team

_README = """Archive of {name} ({slug}), made on {now:%Y-%m-%d %H:%M} UTC.

{files}

Secrets of API credentials and webhooks are not in the archive.
"""
_FILES = {
    "events.ndjson": "one event on each line, with its net cost, as POST /usage/events takes it",
    "credits.ndjson": "one credit on each line, as POST /usage/credits takes it",
    "usage-by-day.csv": "sums by day (UTC), API credential, capability, service, model and status; also of events "
    "that were deleted because of their age",
    "organization.ndjson": "the organization's settings",
}
_TABLES: dict[str, type[Model]] = {
    "limits": SpendLimit,
    "limit-overrides": LimitOverride,
    "threshold-events": ThresholdEvent,
    "increase-requests": IncreaseRequest,
    "prices": PriceVersion,
    "agreements": Agreement,
    "credits-with-voided": Credit,
    "allocation-rules": AllocationRule,
    "anomalies": Anomaly,
    "anomaly-windows": AnomalyWindow,
    "commitments": Commitment,
    "outcomes": Outcome,
    "bill-imports": BillImport,
    "bill-rows": BillRow,
    "bill-keys": BillKey,
    "webhooks": WebhookEndpoint,
    "notice-addresses": NotificationAddress,
    "members": Membership,
    "teams": Team,
    "credentials": APICredential,
    "audit-log": AuditEntry,
}
_LEFT_OUT = frozenset(
    {
        *("organization", "secret", "previous_secret", "secret_hash", "previous_hash"),
        *("secret_pepper", "previous_pepper", "api_key_hashes"),
    }
)
_KEYS = ("day", "credential_id", "capability", "service", "model", "status")
_SUMS = (
    *("requests", "unpriced", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
    *("token_cost_usd", "compute_cost_usd"),
)
_CHUNK = 256 * 1024


class _Sink:
    """A file that can only be written to, whose content is taken out again and again."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self._parts.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered below."""

    def close(self) -> None:
        """The parts are taken, not stored."""

    def take(self) -> bytes:
        content = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return content


def archive_name(organization: Organization, now: datetime) -> str:
    return f"{organization.slug}-{now:%Y-%m-%d}.zip"


def write_archive(*, organization: Organization, now: datetime) -> Iterator[bytes]:
    """Yield the bytes of the ZIP. If reading fails, it ends early and no program opens it."""
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_DEFLATED) as archive:
        for name, chunks in _files(organization, now):
            member_info = ZipInfo(name, now.timetuple()[:6])
            member_info.compress_type = ZIP_DEFLATED
            with archive.open(member_info, "w", force_zip64=True) as member:
                for chunk in chunks:
                    member.write(chunk)
                    if sink.size >= _CHUNK:
                        yield sink.take()
            yield sink.take()
    yield sink.take()


def _files(organization: Organization, now: datetime) -> Iterator[tuple[str, Iterator[bytes]]]:
    files = _FILES | {f"{name}.ndjson": _title(model) for name, model in _TABLES.items()}
    listed = "\n".join(f"{name}: {text}" for name, text in files.items())
    text = _README.format(name=organization.name, slug=organization.slug, now=now, files=listed)
    yield "README.txt", iter([text.encode()])
    yield "events.ndjson", export_events(organization.pk)
    yield "credits.ndjson", export_credits(organization.pk)
    yield "usage-by-day.csv", _usage_by_day(organization)
    settings = Organization.objects.filter(pk=organization.pk)
    yield "organization.ndjson", _rows(organization, settings, _columns(Organization))
    for name, model in _TABLES.items():
        columns = _columns(model)
        rows: QuerySet[Any] = model._default_manager.filter(organization=organization).order_by("pk")  # noqa: SLF001
        yield f"{name}.ndjson", _rows(organization, rows, columns)


def _title(model: type[Model]) -> str:
    return f"one {model._meta.verbose_name} on each line"  # noqa: SLF001 - documented for such use


def _columns(model: type[Model]) -> list[str]:
    fields = model._meta.concrete_fields  # noqa: SLF001 - documented for such use
    names = [field.attname for field in fields if field.name not in _LEFT_OUT]
    return [*names, "user__email"] if model is Membership else names


def _rows(organization: Organization, rows: QuerySet[Any], columns: Sequence[str]) -> Iterator[bytes]:
    with tenant_scope(organization.pk):
        for row in rows.values(*columns).iterator():
            yield msgspec.json.encode({name.replace("__", "_"): _value(row[name]) for name in columns}) + b"\n"


def _value(value: Any) -> Any:
    return plain(value) if isinstance(value, Decimal) else value


def _usage_by_day(organization: Organization) -> Iterator[bytes]:
    sums = {f"sum_{name}": Sum(name) for name in _SUMS}
    days = UsageDay.live().objects.filter(organization=organization).values(*_KEYS).annotate(**sums).order_by(*_KEYS)
    yield _csv_line([*_KEYS, *_SUMS])
    with tenant_scope(organization.pk):
        for row in days.iterator():
            keys = [row["day"].isoformat(), row["credential_id"], *(text_cell(row[name]) for name in _KEYS[2:])]
            yield _csv_line([*keys, *(_value(row[name]) for name in sums)])


def _csv_line(cells: Sequence[object]) -> bytes:
    text = StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
