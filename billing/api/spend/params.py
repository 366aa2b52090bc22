"""What the routes of document 004 have in common: parameters, and how their mistakes are told.

LiteLLM's own routes answer a wrong date with 500; here it is a 400 that names the parameter, and so is a parameter that
there is none of. What has a wrong type or is out of range is a 422. All of them in LiteLLM's form.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, ClassVar, NoReturn, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from billing.api.headers import AS_OF
from billing.api.windows import DateOrDateTimeField, window_of
from billing.reports.spend.keys import credentials_meant
from billing.reports.types import Window
from costtrack.clock import iso
from costtrack.error_formats import LITELLM, Dialect
from costtrack.errors import DomainError
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedAPIView
from organizations.models import Organization
from organizations.types import Scope

Query = TypeVar("Query", bound="SpendQuery")

UNPRICED = OpenApiParameter(
    "X-Costtrack-Unpriced-Events",
    OpenApiTypes.INT,
    OpenApiParameter.HEADER,
    description="Events of the answer whose cost is not known yet, so that it is not in the amounts.",
    response=True,
)

_SECONDS = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")
_MAX_TEXT_LENGTH = 1000


class BadParameterError(DomainError):
    """A parameter that is missing, unknown, or no date."""


class SpendDateField(DateOrDateTimeField):
    """Whatever is wrong with a date is a 400. LiteLLM's `2026-11-02 23:59:59` is read too."""

    def to_internal_value(self, data: Any) -> date | datetime:
        text = data.strip() if isinstance(data, str) else data
        return super().to_internal_value(text.replace(" ", "T") if _is_in_seconds(text) else text)

    def fail(self, key: str, **values: Any) -> NoReturn:
        message = self.error_messages[key].format(**values)
        raise BadParameterError(f"{self.field_name}: {message}", param=self.field_name)


class SpendEndField(SpendDateField):
    """An end that LiteLLM's clients write with seconds, such as `2026-11-02 23:59:59`, includes that second."""

    def to_internal_value(self, data: Any) -> date | datetime:
        value = super().to_internal_value(data)
        if isinstance(value, datetime) and _is_in_seconds(data.strip()):
            return value.replace(microsecond=999_999)
        return value


def _is_in_seconds(text: Any) -> bool:
    return isinstance(text, str) and _SECONDS.fullmatch(text) is not None


def text_field(help_text: str) -> serializers.CharField:
    """An optional filter. What nothing can be equal to finds nothing."""
    return serializers.CharField(required=False, max_length=_MAX_TEXT_LENGTH, help_text=help_text)


def start_field() -> SpendDateField:
    return SpendDateField(required=False, help_text="Start of the window: a date or a time, UTC.")


def end_field() -> SpendEndField:
    return SpendEndField(required=False, help_text="End of the window: a date, whose day is included, or a time.")


API_KEY = "Only this key: its Client ID, its hash as rows show it, or the key itself. Better not the last in a URL."


class SpendQuery(StrictSerializer):
    """Parameters of a route."""

    requires_dates: ClassVar[bool] = False

    def to_internal_value(self, data: Any) -> Any:
        unknown = next((name for name in data if name not in self.fields), None)
        if unknown is not None:
            raise BadParameterError(f"{unknown}: there is no such parameter.", param=str(unknown))
        return super().to_internal_value(data)

    def validate(self, attrs: Mapping[str, Any]) -> Mapping[str, Any]:
        missing = [name for name in ("start_date", "end_date") if name not in attrs]
        if self.requires_dates and missing:
            raise BadParameterError("Please provide start_date and end_date", param=missing[0])
        return attrs


class WindowQuery(SpendQuery):
    start_date = start_field()
    end_date = end_field()


class RequiredWindowQuery(WindowQuery):
    """LiteLLM documents the dates as optional and refuses a request without them."""

    requires_dates = True


class SpendView(OrganizationScopedAPIView):
    dialect: ClassVar[Dialect] = LITELLM
    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True


def asked(request: Request, query: type[SpendQuery]) -> dict[str, Any]:
    """The parameters that were given, and the defaults of others. (`organization` belongs to every endpoint.)"""
    given = request.query_params.copy()
    given.pop("organization", None)
    serializer = query(data=given)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def window_asked(parameters: Mapping[str, Any]) -> Window:
    try:
        return window_of(parameters.get("start_date"), parameters.get("end_date"))
    except serializers.ValidationError as error:
        raise BadParameterError("end_date: the window ends before it begins.", param="end_date") from error


def credentials_asked(organization: Organization, parameters: Mapping[str, Any]) -> tuple[int, ...] | None:
    """None if no key is named; empty if it is nobody's."""
    api_key = parameters.get("api_key")
    return credentials_meant(organization=organization, text=api_key) if api_key is not None else None


def headers(now: datetime, unpriced: int | None = None) -> dict[str, str]:
    told = {AS_OF.name: iso(now)}
    return told if unpriced is None else {**told, UNPRICED.name: str(unpriced)}
