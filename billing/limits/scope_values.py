"""What a limit's exceptions, requests and crossings are about, between people and rollups.

People and programs name a credential by its Client ID, as `SpendLimit.scope_value` does; rollups, and what is kept by
one value of a limit that each has for itself, by its number. Every other value is the same for both.
"""

from collections.abc import Iterable

from billing.limits.cache import client_ids
from billing.limits.validation import check_value
from billing.models import SpendLimit
from billing.types import LimitScope
from costtrack.errors import InvalidError
from organizations.models import APICredential, Organization


def credential_number(organization: Organization, client_id: str, *, param: str) -> int:
    """Raises InvalidError, in the same words whether nobody has the Client ID or another organization does."""
    found = APICredential.objects.of(organization).filter(client_id=client_id).values_list("pk", flat=True).first()
    if found is None:
        raise InvalidError(f"{param}: no credential of the organization has this Client ID.", param=param)
    return found


def stored_value(limit: SpendLimit, shown: str) -> str:
    """The value that somebody names, as it is kept. Empty: all that the limit is about.

    Raises InvalidError that names `value` for one that the limit is not about.
    """
    if not limit.is_of_each:
        if shown not in ("", limit.scope_value):
            raise InvalidError("value: the limit is not about it; leave it empty.", param="value")
        return ""
    check_value(shown, param="value")
    if shown and limit.scope == LimitScope.CREDENTIAL:
        return str(credential_number(limit.organization, shown, param="value"))
    return shown


def display_values(organization: Organization, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What to call each (scope, kept value), with one query at most."""
    pairs = set(pairs)
    names = client_ids(organization.pk, [value for scope, value in pairs if scope == LimitScope.CREDENTIAL])
    return {
        (scope, value): names.get(value, value) if scope == LimitScope.CREDENTIAL else value for scope, value in pairs
    }


def display_value(limit: SpendLimit, kept: str) -> str:
    """The same for a single one."""
    pair = (limit.scope, kept)
    return display_values(limit.organization, [pair])[pair]
