"""`GET /usage/access`: check whether a call may proceed, without reserving anything."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from msgspec import UNSET, Meta, UnsetType
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import LimitEndpoint, operation
from billing.api.queries import validated_query
from billing.api.usage.authorizations import SpendLimitExceeded
from billing.limits.authorize import Access, DimensionRequiredError, check_access
from billing.limits.estimate import UnpricedModelError, identify_call
from billing.limits.refusal import CODE
from billing.limits.types import Dimensions
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.money import DECIMALS, DIGITS
from costtrack.name_fields import NameField
from costtrack.responses import OneOf, ResponseBody, about
from costtrack.serializers import AmountInputField, StrictSerializer, optional_text
from organizations.api.base import OrganizationScopedAPIView

T = TypeVar("T", bound=ResponseBody)
MAX_TAGS = 50
_No = Annotated[bool, Meta(extra_json_schema={"const": False})]
_NotPricedCode = Annotated[str, Meta(extra_json_schema={"const": UnpricedModelError.code})]
_RequiredCode = Annotated[str, Meta(extra_json_schema={"const": DimensionRequiredError.code})]
_NAMES = (*("service", "model", "capability", "agent_id", "end_user", "team", "workflow_id", "run_id", "session_id"),)
_NO_STORE = {"Cache-Control": "no-store"}


class AccessQuery(StrictSerializer):
    """The dimensions of the call. The credential is that of the request."""

    service = optional_text()
    model = optional_text()
    capability = optional_text()
    agent_id = optional_text()
    user_id = optional_text()
    end_user = optional_text()
    team = optional_text()
    workflow_id = optional_text()
    run_id = optional_text()
    session_id = optional_text()
    tags = serializers.ListField(
        required=False,
        child=NameField(allow_blank=True),
        max_length=MAX_TAGS,
        help_text="Repeat for several tags: `tags=a&tags=b`.",
    )
    estimated_cost_usd = AmountInputField(
        required=False,
        max_digits=DIGITS,
        decimal_places=DECIMALS,
        min_value=Decimal(0),
        help_text="The estimated cost, which must fit into every limit.",
    )


class Allowed(ResponseBody, kw_only=True):
    """The call may proceed. Nothing is reserved: use an authorization if a limit must never be exceeded."""

    allowed: Annotated[bool, Meta(extra_json_schema={"const": True})]
    free: Annotated[
        bool | UnsetType,
        about("True, if the call costs nothing, so that only a manual pause refuses it. Otherwise absent."),
    ] = UNSET
    as_of: datetime


class NotAllowed(SpendLimitExceeded):
    """A limit blocks the call, as in a 429 of `POST /usage/authorizations`."""

    allowed: _No


class NotPriced(ResponseBody):
    """The cost of the call would be unknown, so a pausing limit could not be enforced."""

    allowed: _No
    error: str
    code: _NotPricedCode
    reason: _NotPricedCode
    as_of: datetime


class DimensionMissing(ResponseBody):
    """A limit for every value of a dimension requires the call to have one."""

    allowed: _No
    error: str
    code: _RequiredCode
    reason: _RequiredCode
    as_of: datetime


class UsageAccessView(LimitEndpoint, OrganizationScopedAPIView):
    """`GET /usage/access`"""

    @operation("usage_access", AccessQuery, OneOf("Access", (NotAllowed, NotPriced, DimensionMissing, Allowed)))
    def get(self, request: Request) -> Response:
        """Check whether a call may proceed and, if not, which limit blocks it and until when. The status is always
        200. Open to any credential. A call of a model without costs is refused only by a manual pause."""
        params, now = validated_query(AccessQuery, request.query_params), utc_now()
        try:
            access = check_access(
                organization=self.organization,
                call=identify_call(self.organization.pk, self._call(params), now=now),
                estimated_usd=params.get("estimated_cost_usd"),
                now=now,
            )
        except UnpricedModelError as error:
            return Response(_invalid(NotPriced, error, now), headers=_NO_STORE)
        except DimensionRequiredError as error:
            return Response(_invalid(DimensionMissing, error, now), headers=_NO_STORE)
        return Response(_response(access, now), headers=_NO_STORE)

    def _call(self, params: dict[str, Any]) -> Dimensions:
        credential = self.principal.credential
        return Dimensions(
            credential_id=credential.pk if credential is not None else None,
            environment=credential.environment if credential is not None else "",
            user_ref=self.organization.user_name(params.get("user_id", "")),
            **{name: params.get(name, "") for name in _NAMES},
            tags=tuple(dict.fromkeys(filter(None, params.get("tags", ())))),
        )


def _response(access: Access, now: datetime) -> Allowed | NotAllowed:
    refusal = access.refusal
    if refusal is None:
        return Allowed(allowed=True, free=access.is_free or UNSET, as_of=now)
    return NotAllowed(allowed=False, error=refusal.message, code=CODE, **refusal.details())


def _invalid(body: type[T], error: InvalidError, now: datetime) -> T:
    return body(allowed=False, error=error.message, code=error.code, reason=error.code, as_of=now)
