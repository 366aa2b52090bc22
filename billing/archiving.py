"""Archive old events: write them to files, verify these, and drop the events from the ledger (docs/archive.md).

A file is written without a lock. It is then read back, and its rows are compared with the ledger's, every value of
every column, in the transaction that drops them. So after a crash at any time there are either the events or a verified
file. The row of the manifest is written first; a file without a finished row is deleted by the next run.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.db import transaction

from billing.archives.files import Sums, is_same, sums_of, sums_of_file, write_rows
from billing.archives.manifest import delete_files, new_file_name, store_manifest
from billing.archives.replacing import replace_person
from billing.archives.schema import VERSION
from billing.archives.storage import Storage, StorageError, sha256_of, storage_of
from billing.ledger.partitions import Partition, month_of, next_month, partitions
from billing.models import EventArchive
from billing.rollups.retention import drop_archived, events_in
from costtrack.clock import DAY, iso
from costtrack.errors import ConflictError, field_error
from organizations import audit
from organizations.models import Organization

_READERS = ("duckdb", "pyarrow")


@dataclass(frozen=True, slots=True)
class Archived:
    """An organization's events of a partition that were archived, or would be. `size_bytes` is that of the file."""

    organization: Organization
    month: datetime
    events: int
    size_bytes: int = 0
    file: str = ""


Report = Callable[[Archived], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """What to archive: the events of organizations that were received in a month, or before one."""

    organizations: Sequence[Organization]
    month: datetime | None = None
    before: datetime | None = None

    def months(self, now: datetime) -> tuple[datetime | None, datetime]:
        """Return the first month, if there is one, and the end of the last. Raises InvalidError."""
        name, given = ("month", self.month) if self.month is not None else ("before", self.before)
        if given is None or given != month_of(given):
            raise field_error(name, "Must be the start of a month (UTC).")
        end = given if self.month is None else next_month(given)
        if end > month_of(now):
            raise field_error(name, "The current month cannot be archived yet.")
        return self.month, end


def archive_events(*, chosen: Choice, target: str, actor: str, now: datetime, report: Report) -> None:
    """Archive events. Safe to repeat if interrupted.

    Raises InvalidError for the target and the months; ConflictError if the events change or are in use; StorageError if
    files cannot be written or read.
    """
    check_packages()
    storage = storage_of(target)
    chosen.months(now)
    for organization in chosen.organizations:
        delete_replaced(organization=organization)
    for partition, organization, _ in _due(chosen, now):
        archived = _archive(partition, organization, storage, actor, now)
        if archived is not None:
            report(archived)


def preview_archive(*, chosen: Choice, now: datetime) -> list[Archived]:
    """Return what `archive_events` would archive. Raises InvalidError."""
    return [Archived(organization, partition.month, events) for partition, organization, events in _due(chosen, now)]


def check_packages() -> None:
    """Raise StorageError without the packages that archived events are written and read with."""
    for name in _READERS:
        try:
            __import__(name)
        except ImportError as error:
            raise StorageError(f"The package {name} is not installed: pip install costtrack[archive]") from error


def discard_unfinished(*, organization: Organization, month: datetime | None = None) -> None:
    """Delete the files of runs that were interrupted, and those that were replaced when a person was erased. A run that
    still writes such a file ends with ConflictError."""
    unfinished = EventArchive.objects.of(organization).filter(archived_at=None)
    if month is not None:
        unfinished = unfinished.filter(month=month.date())
    for archive_id in list(unfinished.values_list("pk", flat=True)):
        _discard(organization, archive_id)
    delete_replaced(organization=organization)


def delete_replaced(*, organization: Organization) -> None:
    """Delete the files that were replaced when a person was erased."""
    for archive in EventArchive.objects.of(organization).exclude(replaced_file=""):
        delete_files(archive, archive.replaced_file)
        EventArchive.objects.row(archive).update(replaced_file="")


def _due(chosen: Choice, now: datetime) -> Iterator[tuple[Partition, Organization, int]]:
    """Yield the partitions with events of the organizations, oldest first.

    Adjustments are received after their events. Months are archived in their order, so that an event of the ledger has
    all of its adjustments there.
    """
    first, end = chosen.months(now)
    for partition in partitions():
        for organization in chosen.organizations:
            if partition.month >= end or partition.organization_id not in (None, organization.pk):
                continue
            events = events_in(partition, organization)
            if events and first is not None and partition.month < first:
                message = f"{organization.slug} has events of {partition.month:%Y-%m}; archive these months first."
                raise field_error("month", message)
            if events:
                yield partition, organization, events


def _archive(
    partition: Partition, organization: Organization, storage: Storage, actor: str, now: datetime
) -> Archived | None:
    discard_unfinished(organization=organization, month=partition.month)
    archive = EventArchive.objects.create(
        organization=organization,
        month=partition.month.date(),
        location=storage.location,
        file_name=new_file_name(organization, partition.month),
        schema_version=VERSION,
        began_at=now,
    )
    try:
        with storage.staged(archive.file_name) as path:
            with transaction.atomic():
                rows = write_rows(path, partition.name, organization.pk)
            if rows:
                archive.sha256, archive.size_bytes = sha256_of(path), path.stat().st_size
            else:
                path.touch()
        if rows:
            _verify_and_drop(archive, storage, partition, actor, now)
    except StorageError as error:
        if EventArchive.objects.row(archive).exists():
            raise
        raise _other_run(archive) from error  # which has deleted this one's file
    finally:
        # An error of the commit does not say whether it happened.
        _discard(organization, archive.pk, archive)
    if not rows:
        return None
    return Archived(
        organization, partition.month, archive.events, archive.size_bytes, f"{archive.location}/{archive.file_name}"
    )


def _verify_and_drop(archive: EventArchive, storage: Storage, partition: Partition, actor: str, now: datetime) -> None:
    organization = archive.organization
    with storage.local_copy(archive.file_name) as copy:
        if sha256_of(copy) != archive.sha256:
            raise StorageError(f"{archive.location}/{archive.file_name} is not what was written.")
        sums = sums_of_file(copy)
        store_manifest(storage, archive, sums)
        drop_archived(
            partition=partition,
            organization=organization,
            actor=actor,
            now=now,
            check=lambda: _finish(archive, copy, sums, partition, actor, now),
        )


def _finish(archive: EventArchive, copy: Path, sums: Sums, partition: Partition, actor: str, now: datetime) -> None:
    """Complete the row of the manifest if the file has exactly the rows of the ledger, which cannot change now."""
    organization = archive.organization
    unfinished = EventArchive.objects.of(organization).filter(pk=archive.pk, archived_at=None)
    if not unfinished.select_for_update().exists():
        raise _other_run(archive)
    if sums != sums_of(partition.name, organization.pk) or not is_same(copy, partition.name, organization.pk):
        raise ConflictError(f"Events of {organization.slug} changed while they were archived. Try again.")
    archive.events, archive.requests, archive.unpriced = sums.events, sums.requests, sums.unpriced
    archive.cost_usd = sums.cost_usd
    archive.first_occurred_at, archive.last_occurred_at = sums.first_occurred_at, sums.last_occurred_at
    archive.archived_at = archive.checked_at = now
    archive.save()
    audit.record(
        organization=organization,
        actor=actor,
        action="events.archived",
        subject=f"{archive.month:%Y-%m}",
        events=archive.events,
        file=f"{archive.location}/{archive.file_name}",
        sha256=archive.sha256,
        archived_at=iso(now),
    )


def _other_run(archive: EventArchive) -> ConflictError:
    return ConflictError(f"Another run archives {archive.month:%Y-%m} of {archive.organization.slug}.")


def _discard(organization: Organization, archive_id: int, written: EventArchive | None = None) -> None:
    """Delete the file of a row that is not finished, and the row. `written` is what this process has written, also if
    another run has deleted its row meanwhile. Waits for a transaction that is finishing the row."""
    with transaction.atomic():
        row = EventArchive.objects.of(organization).filter(pk=archive_id).select_for_update().first()
        if row is not None and row.archived_at is not None:
            return
        archive = row or written
        if archive is not None:
            delete_files(archive, archive.file_name)
        if row is not None:
            row.delete()


@dataclass(slots=True)
class ArchiveReplacement:
    """Files of archived events that were written again with another name of a person (`replaced_in_archive`)."""

    organization: Organization
    seen: list[tuple[int, str]] = field(default_factory=list)
    """The files that were examined: their rows and digests."""
    written: list[EventArchive] = field(default_factory=list)
    """The rows of the manifest with the new files, not saved yet."""
    changes: int = 0

    def finish(self) -> int:
        """Exchange the files in the manifest, and return the number of changed values. Runs in the transaction that
        replaces the person in the ledger. A run that is writing a file ends with an error."""
        rows = EventArchive.objects.of(self.organization).select_for_update().order_by("pk")
        if [(row.pk, row.sha256) for row in rows if row.archived_at is not None] != self.seen:
            raise ConflictError("Events were archived meanwhile. Try again.")
        for archive in self.written:
            archive.save(update_fields=["file_name", "replaced_file", "sha256", "size_bytes"])
        return self.changes


@contextmanager
def replaced_in_archive(
    *, organization: Organization, old: str, new: str, show: Callable[[str], None]
) -> Iterator[ArchiveReplacement]:
    """Write the files that name a person again, and delete the old ones when the block has ended. If it fails, the new
    ones are deleted. Raises StorageError."""
    delete_replaced(organization=organization)
    replacement = ArchiveReplacement(organization)
    archives = list(EventArchive.objects.of(organization).complete().order_by("pk"))
    if archives:
        check_packages()
    try:
        for archive in archives:
            show(archive.file_name)
            replacement.seen.append((archive.pk, archive.sha256))
            _replace_in(archive, replacement, old, new)
        yield replacement
    except BaseException:
        for archive in replacement.written:
            _delete_unused(archive)
        raise
    discard_unfinished(organization=organization)


def _delete_unused(archive: EventArchive) -> None:
    """Delete a file that was written again, unless the manifest has it. Waits for a transaction that changes the row,
    because an error of the commit does not say whether it happened."""
    with transaction.atomic():
        row = EventArchive.objects.row(archive).select_for_update().first()
        if row is None or row.file_name != archive.file_name:
            delete_files(archive, archive.file_name)


def find_problems(*, now: datetime, with_digests: bool) -> Iterator[tuple[EventArchive, str]]:
    """Yield each file of the archive with what is wrong with it, or an empty text. Reading all of it for the digest may
    take long."""
    archives = EventArchive.objects.filter(organization__in=Organization.objects.all()).select_related("organization")
    for archive in archives.order_by("organization__slug", "month", "pk"):
        if archive.archived_at is None:
            text = "Its run was interrupted, and its events are in the ledger. Run costtrack archive again."
            yield archive, text if now - archive.began_at > DAY else ""
        elif archive.replaced_file:
            yield archive, "It still exists as it was before a person was erased. Run costtrack archive again."
        else:
            yield archive, _problem_of(archive, with_digests=with_digests)


def check_files(*, now: datetime) -> int:
    """Check that the files exist and have their size, and store the result for the Health page. Return the number of
    problems."""
    problems = 0
    for archive, problem in find_problems(now=now, with_digests=False):
        EventArchive.objects.row(archive).update(checked_at=now, problem=problem[:255])
        problems += bool(problem)
    return problems


def _problem_of(archive: EventArchive, *, with_digests: bool) -> str:
    storage = storage_of(archive.location)
    try:
        size = storage.size(archive.file_name)
        if size is None:
            return "The file does not exist."
        if size != archive.size_bytes:
            return f"The file has {size:,} bytes instead of {archive.size_bytes:,}."
        if with_digests:
            with storage.local_copy(archive.file_name) as copy:
                if sha256_of(copy) != archive.sha256:
                    return "The file has another digest than the manifest."
    except StorageError as error:
        return f"The file cannot be read: {error.message}"
    return ""


def _replace_in(archive: EventArchive, replacement: ArchiveReplacement, old: str, new: str) -> None:
    storage, previous = storage_of(archive.location), archive.file_name
    name = new_file_name(archive.organization, archive.month)
    with storage.local_copy(previous) as copy, tempfile.TemporaryDirectory() as folder:
        if sha256_of(copy) != archive.sha256:
            raise StorageError(f"{archive.location}/{previous} differs from its digest.")
        written = Path(folder, "file")
        changes = replace_person(copy, written, old=old, new=new)
        if not changes:
            return
        sums = sums_of_file(written)
        if sums != sums_of_file(copy):
            raise StorageError(f"{archive.location}/{previous} could not be written again.")
        archive.file_name, archive.replaced_file = name, previous
        archive.sha256, archive.size_bytes = sha256_of(written), written.stat().st_size
        replacement.written.append(archive)
        with storage.staged(name) as path:
            shutil.copyfile(written, path)
    with storage.local_copy(name) as copy:
        if sha256_of(copy) != archive.sha256:
            raise StorageError(f"{archive.location}/{name} is not what was written.")
    store_manifest(storage, archive, sums)
    replacement.changes += changes
