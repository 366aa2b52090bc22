"""Downloads: the links of a table to its files, and the base of the pages that respond with them."""

from datetime import timedelta
from typing import Any, ClassVar

from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from billing.admin.components import formatting
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.urls import admin_url
from billing.admin.components.usage_form import UsageQueryPage
from billing.exports.export_jobs import MAX_DIRECT_ROWS, STORED_FOR, check_may_read
from billing.exports.file_queries import query_json, query_of
from billing.exports.table_files import FileQuery, file_response
from costtrack.errors import InvalidError
from costtrack.file_columns import FORMAT_LABELS, FileFormat, FileLinks
from organizations.principals import Access, Principal

_OF_PAGES = ("after", "page", "view", "format")
"""Parameters of a page that do not choose the rows of its file."""
_SALT = "costtrack.exports"
_VALID_FOR = timedelta(days=1)


def file_links(page: OrganizationPage, view: str, **parameters: str) -> FileLinks:
    """Return the links to the file of a page's table, with the page's filters and these parameters. `view` is the name
    of a `FileView`."""
    if (refusal := page.plan_rights.exports_refusal()) is not None:
        return FileLinks(refused=refusal.message)
    given = page.request.GET.copy()
    for name in _OF_PAGES:
        given.pop(name, None)
    for name, value in parameters.items():
        given[name] = value
    return FileLinks.of(admin_url(view), given.urlencode())


class FileView(UsageQueryPage):
    """A file of all rows of a table. Its parameters are those of the table's page, and `format`."""

    title: ClassVar[str] = "Download"
    template_name: ClassVar[str] = "admin/dashboard/large_file.html"
    explains_plan = True
    with_bom: ClassVar[bool] = True

    def file_query(self) -> FileQuery:
        """Return what the file has. Raises DomainError for invalid filters."""
        raise NotImplementedError

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.plan_rights.check_exports()
        return self.respond_with(self.file_query())

    def respond_with(self, query: FileQuery) -> HttpResponseBase:
        """Return the file, or, if it has too many rows for a download, the page that offers to create it in the
        background."""
        check_may_read(access=access_of(self), query=query)
        table, file_format = query.table(self.organization, self.user), format_of(self.request)
        if table.exceeds(MAX_DIRECT_ROWS):
            return self._respond(self.template_name, self._large(query, file_format))
        name = query.file_name(self.organization)
        return file_response(table, name, file_format, with_bom=self.with_bom)

    def _large(self, query: FileQuery, file_format: FileFormat) -> dict[str, Any]:
        return {
            "file_title": query.title,
            "format": dict(FORMAT_LABELS)[file_format],
            "max_rows": formatting.count(MAX_DIRECT_ROWS),
            "stored_days": STORED_FOR.days,
            "address": self.user.email,
            "request_token": signed_request(self, query, file_format),
            "refresh_seconds": 0,
        }


def access_of(page: OrganizationPage) -> Access:
    """Return what the user may do in the organization of a page."""
    return Access(Principal(user=page.user), page.organization, page.role, page.role.scopes)


def signed_request(page: OrganizationPage, query: FileQuery, file_format: FileFormat) -> str:
    """Return a request for a file that only this user can send, so that its filters are those that were checked."""
    request = {
        "organization": page.organization.pk,
        "user": page.user.pk,
        "query": query_json(query),
        "format": file_format.value,
    }
    return signing.dumps(request, salt=_SALT, compress=True)


def read_request(page: OrganizationPage, token: str) -> tuple[FileQuery, FileFormat]:
    """Return what a user has requested. Raises InvalidError if the token is not this user's, or too old."""
    try:
        request = signing.loads(token, salt=_SALT, max_age=_VALID_FOR)
    except signing.BadSignature:
        request = {}
    if request.get("organization") != page.organization.pk or request.get("user") != page.user.pk:
        raise InvalidError("This request is no longer valid. Go back to the table, and download it again.")
    return query_of(request["query"]), FileFormat(request["format"])


def format_of(request: HttpRequest) -> FileFormat:
    name = request.GET.get("format", "")
    return FileFormat(name) if name in set(FileFormat) else FileFormat.CSV
