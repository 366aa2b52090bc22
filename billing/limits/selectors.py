"""Read limits, their active overrides, and the values that they name. For the state of limits see
`billing.limits.status`.

A value of a scope has two forms. The API and `SpendLimit.scope_value` name a credential by its Client ID; rollups,
overrides, increase requests and threshold events store its primary key. All other values are the same in both forms.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from django.db.models import Max, Q, QuerySet

from billing.limits.cache import client_ids, conditions_of, known_value, limit_set
from billing.limits.conditions import DISPLAYED_SEPARATOR, SEPARATOR, joined_value
from billing.limits.types import Dimensions, Rule
from billing.limits.validation import check_value
from billing.models import LimitOverride, SpendLimit
from billing.types import LimitScope, OverrideKind
from costtrack.errors import field_error
from organizations.models import APICredential, Organization


def in_force_at(now: datetime) -> Q:
    """Return a filter for limits and overrides that have begun and not ended."""
    has_begun = Q(starts_at=None) | Q(starts_at__lte=now)
    return has_begun & (Q(ends_at=None) | Q(ends_at__gt=now))


def active_overrides(limit: SpendLimit, now: datetime) -> QuerySet[LimitOverride]:
    """Return the active overrides of the limit, the oldest first."""
    rows = LimitOverride.objects.filter(in_force_at(now), organization=limit.organization_id, limit=limit)
    return rows.order_by("pk")


def active_overrides_by_limit(
    organization: Organization, limits: Collection[SpendLimit], now: datetime
) -> dict[int, list[LimitOverride]]:
    """Return the active overrides of several limits, by limit id, with one query."""
    by_id = {limit.pk: limit for limit in limits}
    by_limit: dict[int, list[LimitOverride]] = {pk: [] for pk in by_id}
    rows = LimitOverride.objects.of(organization).filter(in_force_at(now), limit__in=list(by_id))
    for row in rows.order_by("pk"):
        row.limit = by_id[row.limit_id]
        by_limit[row.limit_id].append(row)
    return by_limit


def current_amount(limit: SpendLimit, *, stored: str, now: datetime) -> Decimal:
    """Return the limit's amount for one stored value (see `billing.limits.selectors`), including active raises."""
    raises = active_overrides(limit, now).filter(kind=OverrideKind.RAISE, value__in=("", stored))
    raised: Decimal | None = raises.aggregate(largest=Max("amount_usd"))["largest"]
    return limit.amount_usd if raised is None else max(limit.amount_usd, raised)


def credential_pk(organization: Organization, client_id: str, *, param: str) -> int:
    """Return the primary key of the organization's credential.

    Raises the same InvalidError whether the Client ID is unknown or belongs to another organization.
    """
    pk = APICredential.objects.of(organization).filter(client_id=client_id).values_list("pk", flat=True).first()
    if pk is None:
        raise field_error(param, "No credential of the organization has this Client ID.")
    return pk


def stored_value(limit: SpendLimit, displayed: str, *, now: datetime) -> str:
    """Return the stored form of a displayed value. Empty: everything that the limit applies to.

    Raises InvalidError naming `value` if the limit does not apply to it.
    """
    check_value(displayed, param="value")
    scope = LimitScope(limit.scope)
    if limit.further_scopes and displayed:
        return _joined(limit, displayed.split(DISPLAYED_SEPARATOR), now)
    value = known_value(limit.organization, scope, displayed, now=now)
    if not limit.is_per_value:
        if value and value != known_value(limit.organization, scope, limit.scope_value, now=now):
            raise field_error("value", "The limit does not apply to this value. Leave it empty.")
        return ""
    if value and scope is LimitScope.CREDENTIAL:
        return str(credential_pk(limit.organization, value, param="value"))
    return value


def _joined(limit: SpendLimit, displayed: Sequence[str], now: datetime) -> str:
    """Return the stored form of the values of several conditions."""
    scopes = [condition.scope for condition in conditions_of(limit) if condition.is_per_value]
    if len(scopes) != len(displayed):
        raise field_error("value", f"Must be a value of each of: {', '.join(scopes)}, separated by ' x '.")
    return joined_value(
        str(credential_pk(limit.organization, value, param="value"))
        if scope is LimitScope.CREDENTIAL
        else known_value(limit.organization, scope, value, now=now)
        for scope, value in zip(scopes, displayed, strict=True)
    )


def display_values(organization: Organization, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the displayed form of each (scope, stored value), with at most one query."""
    pairs = set(pairs)
    numbers = [value.partition(SEPARATOR)[0] for scope, value in pairs if scope == LimitScope.CREDENTIAL]
    names = client_ids(organization.pk, numbers)

    def displayed(scope: str, value: str) -> str:
        first, *further = value.split(SEPARATOR)
        return DISPLAYED_SEPARATOR.join(
            [names.get(first, first) if scope == LimitScope.CREDENTIAL else first, *further]
        )

    return {(scope, value): displayed(scope, value) for scope, value in pairs}


def display_value(limit: SpendLimit, stored: str) -> str:
    """Return the displayed form of one stored value of the limit."""
    pair = (limit.scope, stored)
    return display_values(limit.organization, [pair])[pair]


def own_rules(*, organization: Organization, user_ids: Sequence[str], now: datetime) -> list[Rule]:
    """Return the limits in force of these users, each with its value."""
    limits = limit_set(organization)
    rules = [rule for user_id in user_ids for rule in limits.rules_for(Dimensions(user_ref=user_id), now=now)]
    return [rule for rule in rules if rule.scope is LimitScope.USER]


def find_own_limit(
    *, organization: Organization, user_ids: Sequence[str], limit: int, user_id: str, now: datetime
) -> tuple[SpendLimit, str]:
    """Return a limit of the usage of these users, and the value of it to request an increase for. `user_id` may be
    empty if the limit applies to only one of them.

    Raises InvalidError naming `limit` for a limit of the usage of others, or `user_id`.
    """
    rules = [
        rule for rule in own_rules(organization=organization, user_ids=user_ids, now=now) if rule.limit_id == limit
    ]
    if not rules:
        raise field_error("limit", "You have no such limit.")
    if user_id:
        rules = [rule for rule in rules if rule.value == organization.user_name(user_id)]
    if len({rule.value for rule in rules}) != 1:
        values = ", ".join(user_ids)
        raise field_error("user_id", f"Must be one of your user ids that the limit applies to: {values}.")
    (rule, *_) = rules
    limits = SpendLimit.objects.of(organization).not_removed()
    return limits.get_or_not_found("limit", pk=rule.limit_id), rule.value if rule.is_per_value else ""
