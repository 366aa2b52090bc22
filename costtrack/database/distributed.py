"""Policies and functions as a distributed database needs them (docs/distribution.md).

What Citus refuses in those of the migrations makes PostgreSQL alone faster.
"""

import re

MEMBERS_FUNCTION = """
CREATE OR REPLACE FUNCTION organizations_is_member(p_user_id bigint) RETURNS boolean LANGUAGE sql STABLE AS
'SELECT EXISTS (SELECT FROM organizations_membership WHERE user_id = p_user_id)'
""".strip()
_POLICIES = (
    (re.compile(r"\(SELECT\s+costtrack_organizations\(\)\)::bigint\[\]"), "costtrack_organizations()"),
    (
        re.compile(
            r"EXISTS\s+\(\s*SELECT\s+1\s+FROM\s+organizations_membership\s+WHERE\s+organizations_membership\.user_id"
            r"\s+=\s+organizations_user\.id\s*\)"
        ),
        "organizations_is_member(id)",
    ),
)
_FUNCTIONS = {
    # Without a conflict clause, Citus would insert the rows with COPY, which row-level security refuses.
    "billing_write_events": (
        "WHERE stored.unpriced > 0\n",
        "WHERE stored.unpriced > 0\n        ON CONFLICT DO NOTHING\n",
    ),
}
# In PL/pgSQL, because Citus does not plan functions in SQL with parameters.
_QUERIES = {"billing_reservations", "billing_unfolded_usage", "billing_unpriced_usage", "billing_usage_between"}
_CONDITIONS = {"billing_is_erasing", "organizations_is_deleted"}


def without_subqueries(policy: str) -> str:
    """Return the statement that creates the policy, with functions instead of subqueries, which Citus refuses."""
    for pattern, function in _POLICIES:
        policy = pattern.sub(function, policy)
    return policy


def distributed_function(name: str, body: str) -> str:
    """Return the body of a function as a distributed database needs it."""
    old, new = _FUNCTIONS.get(name, ("", ""))
    if name in _QUERIES:
        return f"\n#variable_conflict use_column\nBEGIN\n    RETURN QUERY{body};\nEND "
    if name in _CONDITIONS:
        return f"\nBEGIN\n    RETURN ({body});\nEND "
    return body.replace(old, new)


def distributed_functions() -> list[str]:
    """Return the names of the functions that differ."""
    return sorted({*_FUNCTIONS, *_QUERIES, *_CONDITIONS})
