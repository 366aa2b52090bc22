"""Files that are created in the background: in steps, once, with one email, and not for who has left."""

import csv
import io
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from billing.exports import export_jobs, usage_files
from billing.exports.allocation_files import AllocationFile
from billing.exports.export_jobs import (
    MAX_UNFINISHED,
    STORED_FOR,
    cancel_export,
    create_export,
    delete_export,
    delete_old_exports,
    run_export,
    run_next_step,
    stalled_exports,
    stored_response,
    visible_exports,
)
from billing.exports.file_queries import query_json, query_of
from billing.exports.focus import FocusFile
from billing.exports.list_files import ListFile
from billing.exports.run_files import ExecutionsFile, RunsFile, SessionsFile
from billing.exports.statement_files import StatementFile
from billing.exports.table_files import FileQuery
from billing.exports.usage_files import BreakdownFile, DaysFile, RequestsFile
from billing.models import Delivery, Export, ExportPart
from billing.notifications.emails import compose
from billing.reports.allocation.rules import AllocationBasis
from billing.reports.months import ReportMonth
from billing.reports.usage.figures import GroupBy, UsageFilter
from billing.rollups.fold import fold
from billing.types import AllocationTarget, Channel, ExportState
from costtrack.calendar import Span, Window
from costtrack.clock import utc_now
from costtrack.errors import ConflictError, ForbiddenError, NotFoundError
from costtrack.file_columns import FileFormat
from organizations.models import AuditEntry, Membership, Organization, User
from organizations.principals import Access, Principal
from organizations.types import Role
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")

MONTH_OF_USAGE = NOW.date().replace(day=1)
MONTH = Span(NOW - timedelta(days=60), NOW + timedelta(days=1))


def access_of(user: User, organization: Organization, role: Role = Role.OWNER) -> Access:
    return Access(Principal(user=user), Organization.objects.get(pk=organization.pk), role, role.scopes)


@pytest.fixture
def access(owner: User, organization: Organization) -> Access:
    return access_of(owner, organization)


@pytest.fixture
def usage(send: Send) -> None:
    send(
        *(
            {
                "id": f"{number}",
                "model": "=model" if number % 2 else "gpt-4o",
                "cost_usd": f"0.{number + 1}",
                "input_tokens": number,
                "tags": ["a"] if number else [],
                "run_id": f"run-{number}",
                "session_id": f"session-{number}",
                "execution_id": "execution",
            }
            for number in range(5)
        )
    )
    fold(now=NOW)


def requests() -> RequestsFile:
    return RequestsFile(filters=UsageFilter(), window=MONTH, received_by=utc_now())


def created(access: Access, query: FileQuery | None = None) -> Export:
    return create_export(access=access, query=query or requests(), file_format=FileFormat.CSV, now=utc_now())


def content(export: Export, file_format: FileFormat = FileFormat.CSV) -> bytes:
    stored = Export.objects.select_related("organization").get(pk=export.pk)
    response: Any = stored_response(stored, file_format, with_bom=False)
    return b"".join(response.streaming_content)


def direct(query: FileQuery, access: Access, file_format: FileFormat = FileFormat.CSV) -> bytes:
    from billing.exports.table_files import file_response

    response: Any = file_response(query.table(access.organization, access.principal.user or User()), "x", file_format)
    return b"".join(response.streaming_content)


@pytest.mark.usefixtures("usage")
def test_the_file_of_any_table_is_that_of_its_download(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_files, "_PAGE", 2)
    monkeypatch.setattr(export_jobs, "MAX_UNFINISHED", 20)
    queries = (
        requests(),
        DaysFile(filters=UsageFilter(model="gpt-4o"), window=MONTH),
        BreakdownFile(filters=UsageFilter(), window=MONTH, by=(GroupBy.MODEL, GroupBy.TAG), with_users=True),
        RunsFile(),
        SessionsFile(window=Window()),
        ExecutionsFile(window=Window(None, MONTH.end)),
        StatementFile(month=MONTH_OF_USAGE, by=GroupBy.TEAM, filters=UsageFilter(model="gpt-4o")),
        FocusFile(month=MONTH_OF_USAGE, version="1.4", by=AllocationTarget.TAG, tag_prefix="a"),
        AllocationFile(basis=AllocationBasis(AllocationTarget.TEAM), months=(ReportMonth(MONTH_OF_USAGE, MONTH),)),
        ListFile(name="members"),
        ListFile(name="all-runs", parameters="q=run-1"),
    )
    for query in queries:
        export = created(access, query)
        assert query_of(query_json(query)) == query
        run_export(export=export)
        for file_format in FileFormat:
            assert content(export, file_format) == direct(query, access, file_format), (query, file_format)


@pytest.mark.usefixtures("usage")
def test_any_worker_continues_after_each_step(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_files, "_PAGE", 2)
    export = created(access)
    seen = []
    while run_next_step(export=Export.objects.select_related("organization").get(pk=export.pk), now=utc_now()):
        export.refresh_from_db()
        seen.append((export.state, export.rows, export.total))
    export.refresh_from_db()
    before_its_first_row = [(ExportState.RUNNING, 0, None), (ExportState.RUNNING, 0, 5)]
    assert seen == [*before_its_first_row, (ExportState.RUNNING, 2, 5), (ExportState.RUNNING, 4, 5)]
    assert (export.state, export.rows, export.parts) == (ExportState.READY, 5, 3)
    assert export.expires_at is not None
    assert export.expires_at - export.finished_at == STORED_FOR  # type: ignore[operator]
    ids = [row["event_id"] for row in csv.DictReader(io.StringIO(content(export).decode()))]
    assert sorted(ids) == ["0", "1", "2", "3", "4"]
    assert not run_next_step(export=export, now=utc_now())


@pytest.mark.usefixtures("usage")
def test_its_requester_gets_one_email(access: Access, viewer: User) -> None:
    export = created(access)
    run_export(export=export)
    run_export(export=export)
    (delivery,) = Delivery.objects.filter(channel=Channel.EMAIL)
    assert delivery.recipient == access.principal.label
    message = compose(delivery)
    assert message is not None
    assert "The file has 5 rows." in message.body
    assert "/o/acme/admin/exports/" in message.body
    assert viewer.email not in message.to


def test_a_requester_who_has_left_gets_no_file_and_no_email(access: Access, organization: Organization) -> None:
    export = created(access)
    Membership.objects.filter(user=access.principal.user).delete()
    run_export(export=export)
    export.refresh_from_db()
    assert (export.state, export.error) == (ExportState.FAILED, "The requester no longer has access to these rows.")
    (delivery,) = Delivery.objects.all()
    assert compose(delivery) is None


def test_a_failure_is_said_in_plain_words(
    access: Access, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    export = created(access)
    monkeypatch.setattr(usage_files, "list_calls", fails)
    run_export(export=export)
    export.refresh_from_db()
    assert export.state == ExportState.FAILED
    assert export.error.startswith("The file could not be created.")
    assert "export failed" in caplog.text
    message = compose(Delivery.objects.get())
    assert message is not None
    assert "The file could not be created." in message.body
    monkeypatch.undo()
    caplog.clear()


@pytest.mark.usefixtures("usage")
def test_space_and_rows_are_bounded(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_jobs, "MAX_STORED_BYTES", 10)
    export = created(access)
    run_export(export=export)
    monkeypatch.setattr(export_jobs, "MAX_ROWS", 4)
    too_many = created(access)
    run_export(export=too_many)
    errors = [Export.objects.get(pk=pk).error for pk in (export.pk, too_many.pk)]
    assert errors[0].startswith("The organization's files use all the space")
    assert errors[1].startswith("The file would have more than")
    assert not ExportPart.objects.exists()
    for _ in range(MAX_UNFINISHED):
        created(access)
    with pytest.raises(ConflictError):
        created(access)


@pytest.mark.usefixtures("usage")
def test_files_expire_and_are_forgotten_later(access: Access) -> None:
    export = created(access)
    run_export(export=export)
    export.refresh_from_db()
    assert export.expires_at is not None
    assert delete_old_exports(now=export.expires_at - timedelta(seconds=1)) == 0
    assert delete_old_exports(now=export.expires_at) == 1
    assert not ExportPart.objects.exists()
    with pytest.raises(ConflictError, match="expired"):
        content(export)
    delete_old_exports(now=export.expires_at + timedelta(days=90))
    assert not Export.objects.exists()


@pytest.mark.usefixtures("usage")
def test_canceled_and_deleted_files_are_not_created(access: Access) -> None:
    export = created(access)
    assert cancel_export(access=access, export_id=export.pk, now=utc_now()).state == ExportState.CANCELED
    run_export(export=export)
    assert not ExportPart.objects.exists()
    assert not Delivery.objects.exists()
    with pytest.raises(ConflictError):
        cancel_export(access=access, export_id=export.pk, now=utc_now())
    delete_export(access=access, export_id=export.pk)
    actions = AuditEntry.objects.filter(action__startswith="export.").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["export.created", "export.canceled", "export.deleted"]


def test_files_are_seen_by_who_may_read_their_rows(
    access: Access, viewer: User, operator: User, organization: Organization, stranger: User
) -> None:
    exports = [created(access), created(access, ListFile(name="audit-log"))]
    own = created(access, RequestsFile(filters=UsageFilter(), window=MONTH, received_by=NOW, users=("ada",)))
    by_operator = created(access_of(operator, organization))
    assert [item.pk for item in visible_exports(access=access)] == [own.pk, exports[1].pk, exports[0].pk]
    as_viewer = access_of(viewer, organization, Role.VIEWER)
    assert [item.pk for item in visible_exports(access=as_viewer)] == [exports[0].pk]
    assert by_operator in visible_exports(access=access_of(operator, organization))
    with pytest.raises(ForbiddenError):
        created(as_viewer, ListFile(name="audit-log"))
    with pytest.raises(NotFoundError):
        delete_export(access=as_viewer, export_id=exports[1].pk)
    other = Organization.objects.exclude(pk=organization.pk).get()
    assert not visible_exports(access=access_of(stranger, other)).exists()


def test_stalled_files_are_continued(access: Access) -> None:
    export = created(access)
    assert not stalled_exports(utc_now()).exists()
    assert [item.pk for item in stalled_exports(utc_now() + timedelta(minutes=2))] == [export.pk]


def test_ids_are_stored_as_text() -> None:
    query = ListFile(name="all-events", parameters=f"q={UUID(int=1)}")
    assert query_json(query) == {"type": "list", "name": "all-events", "parameters": f"q={UUID(int=1)}"}
