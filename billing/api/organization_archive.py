"""`GET /organizations/{slug}/archive`: everything an organization has, as a ZIP."""

from typing import ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from billing.exports.organization_archive import archive_name, write_archive
from costtrack.clock import utc_now
from costtrack.errors import ForbiddenError
from costtrack.tenancy import tenant_scope
from organizations import audit
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope


class ArchiveView(OrganizationScopedAPIView):
    required_scope: ClassVar[Scope] = Scope.MANAGE
    own_transactions: ClassVar[bool] = True

    @extend_schema(operation_id="organizations_archive", responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, **_: str) -> StreamingHttpResponse:
        """Download an archive: all events and credits, sums by day, limits, prices, members, credentials without their
        secrets, and the audit log.

        Needs a plan with exports and the whole history, except while the organization is closing.
        """
        now = utc_now()
        if self.organization.closes_at is None:
            self.plan_rights.check_exports()
            if self.plan_rights.history_start(now) is not None:
                message = "The archive has the whole history, which the plan does not show."
                raise ForbiddenError(message, code="plan_history")
        with tenant_scope(self.organization.pk):
            audit.record(
                organization=self.organization,
                actor=self.principal.label,
                action="organization.exported",
                subject=self.organization.slug,
            )
        name = archive_name(self.organization, now)
        return StreamingHttpResponse(
            write_archive(organization=self.organization, now=now),
            content_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        )
