"""Imports of bills, and the keys of providers."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal

from billing.models import BillDay, BillImport, BillKey, BillRow
from billing.provider_bills.bill_reader import BillLine, read_bill
from billing.types import BillFormat, BillReport
from costtrack.clock import DAY
from costtrack.errors import ConflictError, field_error
from costtrack.event_files.types import FileError
from costtrack.money import ZERO, plain
from costtrack.names import clean_name
from costtrack.tenancy import tenant_scope
from organizations import audit
from organizations.models import APICredential, Organization

MAX_BYTES = 20 * 1024 * 1024
MAX_PROVIDER_LENGTH, MAX_ACCOUNT_LENGTH = 64, 100
MAX_KEYS = 2_000
"""Of an organization."""
_CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class NewBill:
    """A file. `provider` and `columns` are for CSV files of other providers; `format` is that of JSON, if it is known.
    `fetched_at` is when it was downloaded; None: now, if it is new."""

    content: bytes
    file_name: str = ""
    provider: str = ""
    account: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    format: BillFormat | None = None
    fetched_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ImportedBill:
    """`is_duplicate`: the same file was imported before, and nothing has changed. `days` were replaced or confirmed."""

    row: BillImport
    is_duplicate: bool
    days: int = 0


def import_bill(*, organization: Organization, bill: NewBill, actor: str, now: datetime) -> ImportedBill:
    """Store a file. Its days replace those of earlier files. Raises InvalidError naming the field."""
    fetched_at = bill.fetched_at or now
    if fetched_at > now:
        raise field_error("fetched_at", "Must not be in the future.")
    provider, account = clean_name(bill.provider).lower(), clean_name(bill.account)
    if len(provider) > MAX_PROVIDER_LENGTH:
        raise field_error("provider", f"At most {MAX_PROVIDER_LENGTH} characters are allowed.")
    if len(account) > MAX_ACCOUNT_LENGTH:
        raise field_error("account", f"At most {MAX_ACCOUNT_LENGTH} characters are allowed.")
    if len(bill.content) > MAX_BYTES:
        raise field_error("content", f"Must be at most {MAX_BYTES // 1024 // 1024} MB.")
    try:
        parsed = read_bill(bill.content, provider=provider, columns=bill.columns, format=bill.format)
    except FileError as error:
        raise field_error("content", f"The file {error}.") from error
    digest = hashlib.sha256(bill.content).hexdigest()
    days = {day for _, day in parsed.days}
    amounts = [line.amount_usd for line in parsed.lines if line.amount_usd is not None]
    with tenant_scope(organization.pk):
        # Imports of an organization are in order. Without its key locked, rows that refer to it can be added meanwhile.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        same = BillImport.objects.of(organization).filter(
            digest=digest, provider=parsed.provider, account=account, format=parsed.format.value
        )
        if bill.fetched_at is not None:
            same = same.filter(fetched_at=bill.fetched_at)
        if (duplicate := same.order_by("-id").first()) is not None:
            return ImportedBill(duplicate, is_duplicate=True)
        row = BillImport.objects.create(
            organization=organization,
            provider=parsed.provider,
            account=account,
            format=parsed.format.value,
            file_name=clean_name(bill.file_name)[:255],
            digest=digest,
            first_day=min(days),
            last_day=max(days),
            row_count=len(parsed.lines),
            amount_usd=sum(amounts, ZERO) if amounts else None,
            fetched_at=fetched_at,
            actor=actor,
            created_at=now,
        )
        replaced = _store_days(row, parsed.days, parsed.lines)
        audit.record(
            organization=organization,
            actor=actor,
            action="provider_bill.imported",
            subject=row.file_name or row.provider,
            provider=row.provider,
            account=account or None,
            first_day=str(row.first_day),
            last_day=str(row.last_day),
            amount_usd=plain(row.amount_usd) if row.amount_usd is not None else None,
        )
    return ImportedBill(row, is_duplicate=False, days=replaced)


def assign_key(*, organization: Organization, provider: str, key: str, client_id: str | None, actor: str) -> BillKey:
    """Compare a key of a provider with the calls of one credential. None: the key is not the organization's."""
    provider, key = clean_name(provider).lower(), clean_name(key)
    if not provider or len(provider) > MAX_PROVIDER_LENGTH:
        raise field_error("provider", f"Required, with at most {MAX_PROVIDER_LENGTH} characters.")
    if not key or len(key) > 255:  # noqa: PLR2004 - the length of the column
        raise field_error("key", "Required, with at most 255 characters.")
    with tenant_scope(organization.pk):
        credentials = APICredential.objects.filter(organization=organization, client_id=client_id or "")
        if client_id is not None and not credentials.exists():
            raise field_error("client_id", "No such credential.")
        keys = BillKey.objects.of(organization)
        row = keys.filter(provider=provider, key=key).first()
        if row is None:
            if keys.count() >= MAX_KEYS:
                raise ConflictError(f"There are {MAX_KEYS} keys already.", code="too_many_keys")
            row = BillKey(organization=organization, provider=provider, key=key)
        row.client_id = client_id or ""
        row.save()
        audit.record(
            organization=organization,
            actor=actor,
            action="provider_key.assigned",
            subject=key[:200],
            provider=provider,
            client_id=client_id,
        )
    return row


def remove_key(*, organization: Organization, key_id: int, actor: str) -> None:
    """Compare a key together with all others again. Raises NotFoundError."""
    with tenant_scope(organization.pk):
        row = BillKey.objects.of(organization).get_or_not_found("key", pk=key_id)
        BillKey.objects.of(organization).filter(pk=row.pk).delete()
        audit.record(
            organization=organization,
            actor=actor,
            action="provider_key.removed",
            subject=row.key[:200],
            provider=row.provider,
        )


Cell = tuple[str, str, str]
"""Key, model and kind."""


def _store_days(row: BillImport, days: set[tuple[BillReport, date]], lines: Iterable[BillLine]) -> int:
    """Replace the days whose stored report was downloaded earlier, and return how many."""
    cells: dict[tuple[BillReport, date], dict[Cell, list[Decimal | None]]] = {day: {} for day in days}
    for line in lines:
        cell = cells[line.report, line.day].setdefault((line.key, line.model, line.kind), [None, None])
        for index, value in enumerate((line.quantity, line.amount_usd)):
            if value is not None:
                cell[index] = (cell[index] or ZERO) + value
    stored = {
        (BillReport(day.report), day.day): day
        for day in BillDay.objects.of(row.organization).filter(
            provider=row.provider, account=row.account, day__range=(row.first_day, row.last_day)
        )
    }
    replaced: dict[BillReport, list[date]] = defaultdict(list)
    new_rows = []
    for (report, day), found in cells.items():
        current = stored.get((report, day))
        if current is not None and current.fetched_at > row.fetched_at:
            continue
        replaced[report].append(day)
        digest = _digest(found)
        known = BillDay(
            organization=row.organization, provider=row.provider, account=row.account, report=report.value, day=day
        )
        target = current or known
        is_after_day = row.fetched_at >= datetime.combine(day + DAY, time(), UTC)
        if current is None or current.digest != digest or current.agreed_since is None:
            target.agreed_since = row.fetched_at if is_after_day else None
        target.digest, target.fetched_at, target.import_id = digest, row.fetched_at, row.pk
        target.save()
        new_rows += [
            BillRow(
                organization=row.organization,
                provider=row.provider,
                account=row.account,
                report=report.value,
                day=day,
                key=key,
                model=model,
                kind=kind,
                quantity=quantity,
                amount_usd=amount,
            )
            for (key, model, kind), (quantity, amount) in found.items()
        ]
    of_account = BillRow.objects.of(row.organization).filter(provider=row.provider, account=row.account)
    for report, report_days in replaced.items():
        of_account.filter(report=report.value, day__in=report_days).delete()
    BillRow.objects.bulk_create(new_rows, batch_size=_CHUNK)
    return len({day for report_days in replaced.values() for day in report_days})


def _digest(cells: Mapping[Cell, list[Decimal | None]]) -> str:
    """Return the digest of a day's rows, in any order."""
    digest = hashlib.sha256()
    for cell, values in sorted(cells.items()):
        texts = [plain(value) if value is not None else "-" for value in values]
        digest.update("\0".join((*cell, *texts, "")).encode())
    return digest.hexdigest()
