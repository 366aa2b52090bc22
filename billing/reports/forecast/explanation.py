"""What unusual spend is due to: the values of other dimensions with most of the difference, from `billing_detailhour`.

The spend of a value in a window is compared with its average in the same window of the four weeks before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from psycopg import sql

from billing.limits.pace import MAX_WEEKS, WEEK
from billing.types import LimitScope
from costtrack.calendar import Span
from costtrack.database.queries import fetch_rows
from costtrack.money import plain
from organizations.models import Organization

MAX_SERIES = 50
"""How many values of a dimension are compared with their bands: those with the most spend."""
_MIN_SHARE = Decimal("0.5")
_PRECISION = Decimal("0.000001")
# The most specific ones first: of equal parts, the user explains more than the team.
_COLUMNS = {
    LimitScope.USER: "user_ref",
    LimitScope.CREDENTIAL: "nullif(credential_id, 0)::text",
    LimitScope.AGENT: "agent_id",
    LimitScope.END_USER: "end_user",
    LimitScope.MODEL: "model",
    LimitScope.TEAM: "team",
}
SERIES_SCOPES = (LimitScope.CREDENTIAL, LimitScope.USER, LimitScope.TEAM, LimitScope.MODEL)
"""The dimensions whose values have bands, besides the organization."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A value of a dimension and its part of a difference: negative for a drop."""

    scope: LimitScope
    value: str
    usd: Decimal

    def as_json(self) -> dict[str, str]:
        return {"scope": self.scope.value, "value": self.value, "usd": plain(self.usd)}


def _named(scopes: Sequence[LimitScope]) -> sql.Composable:
    rows = [sql.SQL("({}, {})").format(sql.Literal(scope.value), sql.SQL(_COLUMNS[scope])) for scope in scopes]
    return sql.SQL(", ").join(rows)


_LARGE = sql.SQL("""
SELECT named.scope, named.value, max(named.usd) AS usd
FROM (
    SELECT named.scope, named.value, spend.number, sum(spend.usd) AS usd
    FROM (
        SELECT span.number, credential_id, user_ref, team, model, agent_id, end_user,
            sum(token_cost_usd + compute_cost_usd) AS usd
        FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[])
            WITH ORDINALITY AS span (starts_at, ends_at, number)
        JOIN billing_detailhour AS usage ON usage.organization_id = %(organization)s
            AND usage.hour >= span.starts_at AND usage.hour < span.ends_at
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ) AS spend
    CROSS JOIN LATERAL (VALUES {named}) AS named (scope, value)
    WHERE named.value <> ''
    GROUP BY 1, 2, 3
) AS named
GROUP BY 1, 2
HAVING max(named.usd) >= %(min_usd)s
ORDER BY 3 DESC, 1, 2
""")
_CAUSES = sql.SQL("""
SELECT DISTINCT ON (named.scope) named.scope, named.value, sum(spend.usd) AS usd
FROM (
    SELECT credential_id, user_ref, team, model, agent_id, end_user,
        sum((token_cost_usd + compute_cost_usd) * CASE span.number WHEN 1 THEN 1 ELSE -1.0 / %(weeks)s END) AS usd
    FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[])
        WITH ORDINALITY AS span (starts_at, ends_at, number)
    JOIN billing_detailhour AS usage ON usage.organization_id = %(organization)s
        AND usage.hour >= span.starts_at AND usage.hour < span.ends_at
    WHERE {condition}
    GROUP BY 1, 2, 3, 4, 5, 6
) AS spend
CROSS JOIN LATERAL (VALUES {named}) AS named (scope, value)
WHERE named.value <> ''
GROUP BY named.scope, named.value
ORDER BY named.scope, sum(spend.usd) * %(sign)s DESC, named.value
""")
_SPENT = """
SELECT coalesce(sum(cost_usd), 0)
FROM billing_scopehour
WHERE organization_id = %(organization)s AND scope = %(scope)s AND value = %(value)s
    AND hour >= %(start)s AND hour < %(end)s
"""


def large_values(
    organization: Organization, spans: Sequence[Span], *, min_usd: Decimal
) -> list[tuple[LimitScope, str]]:
    """Return the values with at least this spend in one of the spans, of each dimension at most `MAX_SERIES`."""
    parameters = {**_spans(spans), "organization": organization.pk, "min_usd": min_usd}
    values: dict[LimitScope, list[str]] = {scope: [] for scope in SERIES_SCOPES}
    for scope, value, _ in fetch_rows(_LARGE.format(named=_named(SERIES_SCOPES)), parameters):
        values[LimitScope(scope)].append(value)
    return [(scope, value) for scope, names in values.items() for value in names[:MAX_SERIES]]


def spent_usd(organization: Organization, scope: LimitScope, value: str, span: Span) -> Decimal:
    """Return the exact spend of the hours of a span."""
    parameters = {
        "organization": organization.pk,
        "scope": scope.value,
        "value": value,
        "start": span.start,
        "end": span.end,
    }
    ((usd,),) = fetch_rows(_SPENT, parameters)
    return Decimal(usd)


def causes(
    organization: Organization, scope: LimitScope, value: str, span: Span, *, difference_usd: Decimal
) -> list[Cause]:
    """Return for each other dimension the value with the largest part of a difference, if that is at least half of it;
    the largest part first."""
    others = [other for other in _COLUMNS if other is not scope]
    condition: sql.Composable = sql.SQL("true")
    if scope is not LimitScope.ORGANIZATION:
        condition = sql.SQL("{} = %(value)s").format(sql.SQL(_COLUMNS[scope]))
    weeks = [Span(span.start - weeks * WEEK, span.end - weeks * WEEK) for weeks in range(MAX_WEEKS + 1)]
    parameters = {
        **_spans(weeks),
        "organization": organization.pk,
        "value": value,
        "weeks": MAX_WEEKS,
        "sign": 1 if difference_usd > 0 else -1,
    }
    rows = fetch_rows(_CAUSES.format(condition=condition, named=_named(others)), parameters)
    found = [Cause(LimitScope(name), text, Decimal(usd).quantize(_PRECISION)) for name, text, usd in rows]
    large = [cause for cause in found if difference_usd and cause.usd / difference_usd >= _MIN_SHARE]
    return sorted(large, key=lambda cause: (-abs(cause.usd), list(_COLUMNS).index(cause.scope)))


def _spans(spans: Sequence[Span]) -> dict[str, object]:
    return {"starts": [span.start for span in spans], "ends": [span.end for span in spans]}
