"""Parameters of the routes of document 004, and their errors.

LiteLLM responds with 500 to an invalid date; here it is a 400 that names the parameter. A wrong type or a value out of
range is a 422. All errors have the format of LiteLLM.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from billing.api.headers import AS_OF
from billing.api.operations import ReportEndpoint
from billing.api.windows import WindowEndField, WindowStartField, window_of
from billing.reports.spend.keys import credentials_by_id, key_hash, resolve_credentials
from costtrack.calendar import Window
from costtrack.clock import iso, utc_now
from costtrack.error_formats import LITELLM, Dialect
from costtrack.errors import DomainError
from costtrack.filters import ParameterOption, ReportFilterSet
from costtrack.name_fields import NameField
from organizations.api.base import OrganizationScopedAPIView, OrganizationScopedReportViewSet
from organizations.models import Organization

UNPRICED = OpenApiParameter(
    "X-Costtrack-Unpriced-Events",
    OpenApiTypes.INT,
    OpenApiParameter.HEADER,
    description="Events in the response whose cost is unknown and excluded from the amounts.",
    response=True,
)

_MAX_TEXT_LENGTH = 1000


class BadParameterError(DomainError):
    """A parameter is missing, or not a date."""


class _BadRequest(serializers.Field[Any, Any, Any, Any]):
    """A mixin of fields whose errors are a 400."""

    def fail(self, key: str, **values: Any) -> NoReturn:
        message = self.error_messages[key].format(**values)
        raise BadParameterError(f"{self.field_name}: {message}", param=self.field_name)


class SpendStartField(_BadRequest, WindowStartField):
    pass


class SpendEndField(_BadRequest, WindowEndField):
    pass


def text(help_text: str) -> serializers.CharField:
    """Build an optional name. A value without matches returns nothing."""
    return NameField(required=False, max_length=_MAX_TEXT_LENGTH, help_text=help_text)


def exact_text(help_text: str) -> serializers.CharField:
    """Build an optional id, which is compared as it is."""
    return serializers.CharField(
        required=False, max_length=_MAX_TEXT_LENGTH, trim_whitespace=False, help_text=help_text
    )


API_KEY = "Only this key: its Client ID, the key itself (not recommended in a URL), or the SHA-256 of one of them."


class SpendFilterSet(ReportFilterSet):
    """Base of query parameters."""

    requires_dates: ClassVar[bool] = False

    def __init__(self, view: OrganizationScopedAPIView | OrganizationScopedReportViewSet, query: Any = None) -> None:
        self.organization, self.rights = view.organization, view.plan_rights
        super().__init__(view.request.query_params, query)
        missing = [name for name in ("start_date", "end_date") if self.requires_dates and self.options[name] is None]
        if missing:
            raise BadParameterError("Please provide start_date and end_date", param=missing[0])

    @property
    def window(self) -> Window:
        """The window, clipped to the history of the plan."""
        try:
            window = window_of(self.options["start_date"], self.options["end_date"])
        except serializers.ValidationError as error:
            raise BadParameterError("end_date: the window must end after it begins.", param="end_date") from error
        return self.rights.visible(window, now=utc_now())

    @property
    def credentials(self) -> tuple[int, ...] | None:
        """Return None if no `api_key` is given, or an empty tuple if it matches none."""
        api_key = self.options["api_key"]
        return resolve_credentials(organization=self.organization, text=api_key) if api_key is not None else None


class WindowFilterSet(SpendFilterSet):
    start_date = ParameterOption(
        SpendStartField(required=False, help_text="Start of the window: a date or a time, UTC.")
    )
    end_date = ParameterOption(
        SpendEndField(required=False, help_text="End of the window: a date (inclusive) or a time (exclusive).")
    )


class RequiredWindowFilterSet(WindowFilterSet):
    """Required dates. LiteLLM documents them as optional but rejects requests without them."""

    requires_dates = True


class SpendEndpoint(ReportEndpoint):
    """A mixin of views and viewsets."""

    dialect: ClassVar[Dialect] = LITELLM
    openapi_tag: ClassVar[str] = "spend"
    ignores_unknown_parameters: ClassVar[bool] = True


class SpendView(SpendEndpoint, OrganizationScopedAPIView):
    def user_in(self, name: str | None) -> str | None:
        """Return the user that a parameter names, as the ledger stores it."""
        return None if name is None else self.organization.user_name(name)


def key_hashes(organization: Organization, ids: Iterable[int]) -> dict[int, str]:
    """Return the hash of each key by the id of its credential."""
    credentials = credentials_by_id(organization=organization, ids=ids)
    return {pk: key_hash(credential.client_id) for pk, credential in credentials.items()}


def response_headers(now: datetime, unpriced: int | None = None) -> dict[str, str]:
    headers = {AS_OF.name: iso(now)}
    return headers if unpriced is None else {**headers, UNPRICED.name: str(unpriced)}
