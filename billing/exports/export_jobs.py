"""Large files, which workers create in steps: each reads a part of the rows and stores it with its position, so any
worker can continue after another one has died, on any host, and no row is left out or repeated.

A finished file is stored in the database for a week. The transaction that finishes it writes the email to its
requester, so there is exactly one.
"""

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from django.contrib import admin
from django.db import OperationalError
from django.db.models import Q, Sum
from django.http import StreamingHttpResponse

from billing.exports.file_queries import query_json, query_of
from billing.exports.requesters import credential_user, user_of
from billing.exports.table_files import FileQuery, FileTable, Row, encode, streamed
from billing.models import Export, ExportPart
from billing.models.exports import ExportQuerySet
from billing.notifications.outbox import notify
from billing.types import ExportState, NoticeKind
from costtrack.clock import iso, utc_now
from costtrack.errors import ConflictError, DomainError, ForbiddenError, NotFoundError
from costtrack.file_columns import FileColumn, FileFormat, Kind
from costtrack.jobs import enqueue_on_commit
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import is_query_timeout
from organizations import audit
from organizations.models import APICredential, User
from organizations.plan_rights import PlanRights
from organizations.principals import Access
from organizations.services import lock_organization

logger = logging.getLogger(__name__)

MAX_DIRECT_ROWS = 50_000
"""A file with more rows is created in the background."""
MAX_ROWS = 5_000_000
MAX_STORED_BYTES = 1024 * 1024 * 1024
"""Of all files of an organization, compressed."""
MAX_UNFINISHED = 20
STORED_FOR = timedelta(days=7)
_LISTED_FOR = timedelta(days=90)
_STALLED_AFTER = timedelta(minutes=1)
_GIVEN_UP_AFTER = timedelta(days=1)
_TASK_SECONDS = 20.0
_FAILED = "The file could not be created. Try again. If it fails again, contact the operator of this installation."
_TOO_SLOW = "Reading the rows took too long. Choose a shorter period or fewer filters."
_TOO_MANY_ROWS = f"The file would have more than {MAX_ROWS:,} rows. Choose a shorter period."
_NO_SPACE = "The organization's files use all the space they may use. Delete one, and try again."
_NO_ACCESS = "The requester no longer has access to these rows."


def check_may_read(*, access: Access, query: FileQuery) -> None:
    """Raise ForbiddenError if the plan has no exports, or the caller may not read the rows."""
    PlanRights.of(access).check_exports()
    read = query.resource.read
    if read is not None and read not in access.scopes:
        raise ForbiddenError(f"missing scope: this needs {read.value}.", code="missing_scope", extra={"scope": read})


def create_export(*, access: Access, query: FileQuery, file_format: FileFormat, now: datetime) -> Export:
    """Enqueue a file. Raises ForbiddenError (`check_may_read`), DomainError if the query is invalid, and ConflictError
    if too many files are being created."""
    check_may_read(access=access, query=query)
    organization, principal = access.organization, access.principal
    query.table(organization, user_of(access)).count(1)
    with tenant_scope(organization.pk):
        lock_organization(organization)
        if Export.objects.of(organization).unfinished().count() >= MAX_UNFINISHED:
            raise ConflictError(
                f"{MAX_UNFINISHED} files are being created already. Try again when one is ready.",
                code="too_many_exports",
            )
        export = Export.objects.create(
            organization=organization,
            created_at=now,
            touched_at=now,
            actor=principal.label,
            user=principal.user,
            scopes=sorted(access.scopes),
            is_of_operator=principal.is_operator,
            required_scope=query.resource.read.value if query.resource.read is not None else "",
            title=query.title,
            file_name=query.file_name(organization),
            format=file_format.value,
            query=query_json(query),
        )
        _audit(export, "export.created", principal.label)
        _enqueue(export)
    return export


def visible_exports(*, access: Access) -> ExportQuerySet:
    """Return the files that a caller may see, the newest first: of rows that the caller may read. Those of a member's
    own usage are for that member, and those of operators, which have the whole history, for operators."""
    exports = Export.objects.of(access.organization).order_by("-id")
    readable = Q(required_scope__in=access.scopes)
    if access.principal.user is not None:
        readable |= Q(required_scope="", user=access.principal.user)
    return exports.filter(readable) if access.principal.is_operator else exports.filter(readable, is_of_operator=False)


def cancel_export(*, access: Access, export_id: int, now: datetime) -> Export:
    """Cancel a file that is not finished. Raises NotFoundError, and ConflictError if it is finished."""
    with tenant_scope(access.organization.pk):
        export = _lock(access, export_id)
        if not ExportState(export.state).is_unfinished:
            raise ConflictError("The file is finished.", code="export_is_finished")
        _delete_parts(export)
        export.state, export.finished_at = ExportState.CANCELED.value, now
        export.save()
        _audit(export, "export.canceled", access.principal.label)
    return export


def delete_export(*, access: Access, export_id: int) -> None:
    """Delete a file, or cancel it. Raises NotFoundError."""
    with tenant_scope(access.organization.pk):
        export = _lock(access, export_id)
        _delete_parts(export)
        _audit(export, "export.deleted", access.principal.label)
        Export.objects.row(export).delete()


def stored_response(export: Export, file_format: FileFormat, *, with_bom: bool) -> StreamingHttpResponse:
    """Return a response with a finished file, in any format. Raises ConflictError if it is not ready."""
    content = _content(export, file_format)
    return streamed(content, export.file_name, file_format, with_bom=with_bom)


def _content(export: Export, file_format: FileFormat) -> Iterator[bytes]:
    if export.state != ExportState.READY:
        state = ExportState(export.state)
        message = "The file is not ready yet." if state.is_unfinished else f"The file is {state.label.lower()}."
        raise ConflictError(message, code="export_not_ready", extra={"state": export.state})
    columns = [FileColumn(name, Kind(kind)) for name, kind in export.columns]
    return encode(columns, _stored_rows(export, columns), file_format, zone=export.organization.calendar.zone)


def stalled_exports(now: datetime) -> ExportQuerySet:
    """Return unfinished files of all organizations that no worker has touched lately."""
    return Export.objects.unfinished().filter(touched_at__lt=now - _STALLED_AFTER).select_related("organization__plan")


def delete_old_exports(*, now: datetime) -> int:
    """Delete the content of expired files; return their number. Later the files are no longer listed."""
    expired = 0
    ready = Export.objects.filter(state=ExportState.READY, expires_at__lte=now).select_related("organization")
    for export in ready:
        with tenant_scope(export.organization_id):
            _delete_parts(export)
            Export.objects.row(export).update(state=ExportState.EXPIRED.value)
            expired += 1
    for export in Export.objects.filter(created_at__lt=now - _LISTED_FOR).exclude(state=ExportState.READY):
        with tenant_scope(export.organization_id):
            _delete_parts(export)
            Export.objects.row(export).delete()
    return expired


def run_export(*, export: Export, seconds: float = _TASK_SECONDS) -> None:
    """Do steps for some seconds, and enqueue the task again if there are more. An error that is not the database's ends
    the file as failed."""
    admin.autodiscover()  # workers start without the admin, which has the lists
    began = utc_now()
    try:
        while (now := utc_now()) - began < timedelta(seconds=seconds):
            if not run_next_step(export=export, now=now):
                return
    except DomainError as error:
        _fail(export, error.message)
    except OperationalError as error:
        if is_query_timeout(error):
            _fail(export, _TOO_SLOW)
        elif utc_now() - export.created_at > _GIVEN_UP_AFTER:
            _fail(export, _FAILED)
        else:
            raise
    except Exception:
        logger.exception("export failed", extra={"export": export.pk})
        _fail(export, _FAILED)
    else:
        _enqueue(export)


def run_next_step(*, export: Export, now: datetime) -> bool:
    """Read and store the next part. Return whether there are more; False also if another worker has locked the file.

    The first two steps say that it runs, and how many rows it has: the first part can take minutes to read."""
    organization = export.organization
    user = _requester(export)
    with tenant_scope(organization.pk):
        rows = Export.objects.of(organization).select_for_update(skip_locked=True)
        current = rows.filter(pk=export.pk).first()
        if current is None or not ExportState(current.state).is_unfinished:
            return False
        current.organization, current.touched_at = organization, now
        if current.state == ExportState.QUEUED:
            current.state = ExportState.RUNNING.value
            current.save()
            return True
        table = query_of(current.query).table(organization, user)
        if not current.columns:
            _begin(current, table)
            current.save()
            return True
        part = table.read(current.position)
        _store(current, part.rows)
        current.position = part.position or ""
        if part.position is None:
            _finish(current, now)
        current.save()
    return part.position is not None


def _requester(export: Export) -> User:
    """Return who requested the file, with the rights of now. Raises NotFoundError if they are gone."""
    if export.user_id is not None:
        user = User.objects.filter(pk=export.user_id, is_active=True).first()
        if user is not None and (user.is_superuser or _may_read(export, user)):
            return user
        raise NotFoundError(_NO_ACCESS)
    if not APICredential.objects.filter(client_id=export.actor, revoked_at=None).exists():
        raise NotFoundError(_NO_ACCESS)
    scopes = frozenset(export.scopes)
    return credential_user(export.actor, export.organization, scopes, is_operator=export.is_of_operator)


def _may_read(export: Export, user: User) -> bool:
    role = user.roles.get(export.organization_id)
    return role is not None and (not export.required_scope or export.required_scope in role.scopes)


def _begin(export: Export, table: FileTable) -> None:
    total = table.count(MAX_ROWS + 1)
    if total > MAX_ROWS:
        raise ConflictError(_TOO_MANY_ROWS, code="too_many_rows")
    export.total = total or None
    export.columns = [[column.name, column.kind.value] for column in table.columns]


def _store(export: Export, rows: Sequence[Row]) -> None:
    if rows:
        content = zlib.compress(msgspec.json.encode(rows, enc_hook=str), 6)
        ExportPart.objects.create(organization=export.organization, export=export, number=export.parts, content=content)
        export.parts += 1
        export.rows += len(rows)
        export.stored_bytes += len(content)
    stored = Export.objects.of(export.organization).exclude(pk=export.pk).aggregate(stored=Sum("stored_bytes"))
    if export.rows > MAX_ROWS:
        raise ConflictError(_TOO_MANY_ROWS, code="too_many_rows")
    if export.stored_bytes + (stored["stored"] or 0) > MAX_STORED_BYTES:
        raise ConflictError(_NO_SPACE, code="no_space")


def _finish(export: Export, now: datetime) -> None:
    export.state, export.finished_at, export.expires_at = ExportState.READY.value, now, now + STORED_FOR
    _notify(export, NoticeKind.EXPORT_READY, now)


def _fail(export: Export, message: str) -> None:
    """End a file as failed, unless it is finished already."""
    now = utc_now()
    with tenant_scope(export.organization_id):
        current = Export.objects.of(export.organization).unfinished().select_for_update().filter(pk=export.pk).first()
        if current is None:
            return
        current.organization = export.organization
        _delete_parts(current)
        current.state, current.finished_at, current.error = ExportState.FAILED.value, now, message[:500]
        current.save()
        _notify(current, NoticeKind.EXPORT_FAILED, now)


def _notify(export: Export, kind: NoticeKind, now: datetime) -> None:
    """Write the notice for the requester alone."""
    data = {
        "export": {
            "id": export.pk,
            "title": export.title,
            "format": export.format,
            "file_name": f"{export.file_name}.{export.format}",
            "rows": export.rows,
            "expires_at": iso(export.expires_at) if export.expires_at is not None else None,
            "error": export.error or None,
            "requested_by": export.actor,
        }
    }
    words = "is ready" if kind is NoticeKind.EXPORT_READY else "could not be created"
    notify(
        organization=export.organization,
        kind=kind,
        subject=f"{export.title}: the file {words}",
        data=data,
        now=now,
        to=[export.actor] if export.user_id is not None else [],
    )


def _stored_rows(export: Export, columns: Sequence[FileColumn]) -> Iterator[Sequence[Row]]:
    readers: list[Callable[[Any], Any] | None] = [_READERS.get(column.kind) for column in columns]
    for number in range(export.parts):
        with tenant_scope(export.organization_id):
            part = ExportPart.objects.of(export.organization).get(export=export, number=number)
        rows: list[list[Any]] = msgspec.json.decode(zlib.decompress(bytes(part.content)))
        yield [
            [
                read(value) if read is not None and value is not None else value
                for read, value in zip(readers, row, strict=True)
            ]
            for row in rows
        ]


_READERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.AMOUNT: Decimal,
    Kind.DECIMAL: Decimal,
    Kind.TIME: datetime.fromisoformat,
}
"""How a stored value is read, if it is not as JSON has it."""


def _lock(access: Access, export_id: int) -> Export:
    export = visible_exports(access=access).select_for_update().filter(pk=export_id).first()
    if export is None:
        raise NotFoundError("No such export.")
    export.organization = access.organization
    return export


def _delete_parts(export: Export) -> None:
    ExportPart.objects.of(export.organization).filter(export=export).delete()
    export.parts = export.stored_bytes = 0


def _audit(export: Export, action: str, actor: str) -> None:
    audit.record(
        organization=export.organization, actor=actor, action=action, subject=export.title, format=export.format
    )


def _enqueue(export: Export) -> None:
    enqueue_on_commit("billing.run_export", export_id=export.pk)
