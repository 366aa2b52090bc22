"""Convert scope values between their displayed and stored forms.

The API and `SpendLimit.scope_value` name a credential by its Client ID. Rollups, exceptions, increase requests and
threshold events store its primary key. All other values are the same in both forms.
"""

from collections.abc import Iterable

from billing.limits.cache import client_ids
from billing.limits.validation import check_value
from billing.models import SpendLimit
from billing.types import LimitScope
from costtrack.errors import InvalidError
from organizations.models import APICredential, Organization


def credential_pk(organization: Organization, client_id: str, *, param: str) -> int:
    """Return the primary key of the organization's credential.

    Raises the same InvalidError whether the Client ID is unknown or belongs to another organization.
    """
    pk = APICredential.objects.of(organization).filter(client_id=client_id).values_list("pk", flat=True).first()
    if pk is None:
        raise InvalidError(f"{param}: No credential of the organization has this Client ID.", param=param)
    return pk


def stored_value(limit: SpendLimit, displayed: str) -> str:
    """Return the stored form of a displayed value. Empty: everything that the limit applies to.

    Raises InvalidError naming `value` if the limit does not apply to it.
    """
    if not limit.is_per_value:
        if displayed not in ("", limit.scope_value):
            raise InvalidError("value: The limit does not apply to this value. Leave it empty.", param="value")
        return ""
    check_value(displayed, param="value")
    if displayed and limit.scope == LimitScope.CREDENTIAL:
        return str(credential_pk(limit.organization, displayed, param="value"))
    return displayed


def display_values(organization: Organization, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the displayed form of each (scope, stored value), with at most one query."""
    pairs = set(pairs)
    names = client_ids(organization.pk, [value for scope, value in pairs if scope == LimitScope.CREDENTIAL])
    return {
        (scope, value): names.get(value, value) if scope == LimitScope.CREDENTIAL else value for scope, value in pairs
    }


def display_value(limit: SpendLimit, stored: str) -> str:
    """Return the displayed form of one stored value of the limit."""
    pair = (limit.scope, stored)
    return display_values(limit.organization, [pair])[pair]
