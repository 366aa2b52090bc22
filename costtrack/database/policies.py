"""Policies without subqueries, for a distributed database (docs/distribution.md): Citus refuses subqueries in them.

Elsewhere, a subquery makes the planner evaluate the organizations once for each query instead of once for each row.
"""

import re

MEMBERS_FUNCTION = """
CREATE OR REPLACE FUNCTION organizations_is_member(p_user_id bigint) RETURNS boolean LANGUAGE sql STABLE AS
'SELECT EXISTS (SELECT FROM organizations_membership WHERE user_id = p_user_id)'
""".strip()
_REPLACED = (
    (re.compile(r"\(SELECT\s+costtrack_organizations\(\)\)::bigint\[\]"), "costtrack_organizations()"),
    (
        re.compile(
            r"EXISTS\s+\(\s*SELECT\s+1\s+FROM\s+organizations_membership\s+WHERE\s+organizations_membership\.user_id"
            r"\s+=\s+organizations_user\.id\s*\)"
        ),
        "organizations_is_member(id)",
    ),
)


def without_subqueries(policy: str) -> str:
    """Return the statement that creates the policy, with functions instead of subqueries."""
    for pattern, function in _REPLACED:
        policy = pattern.sub(function, policy)
    return policy
