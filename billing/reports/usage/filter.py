"""SQL conditions of a `UsageFilter`, for usage rollups and the ledger."""

from psycopg import sql

from billing.reports.bucketed_query import Parameters
from billing.reports.usage.figures import NO_CREDENTIAL, UsageFilter

_CONDITIONS = {
    "capability": sql.SQL("capability = %(capability)s"),
    "model": sql.SQL("model = %(model)s"),
    "status": sql.SQL("status = %(status)s"),
}
# Without a credential of the organization; credentials of operators do not count.
_WITHOUT_CREDENTIAL = sql.SQL(
    "coalesce(credential_id, 0) NOT IN"
    " (SELECT id FROM organizations_apicredential WHERE organization_id = %(organization)s)"
)
_WITH_CREDENTIAL = sql.SQL(
    "credential_id = (SELECT id FROM organizations_apicredential"
    " WHERE organization_id = %(organization)s AND client_id = %(client_id)s)"
)


def usage_condition(filters: UsageFilter, parameters: Parameters) -> sql.Composed:
    """Build the condition. Needs the parameter `organization`; others are added."""
    conditions: list[sql.Composable] = [sql.SQL("true")]
    for name, condition in _CONDITIONS.items():
        if value := getattr(filters, name):
            parameters[name] = value
            conditions.append(condition)
    if filters.client_id == NO_CREDENTIAL:
        conditions.append(_WITHOUT_CREDENTIAL)
    elif filters.client_id:
        parameters["client_id"] = filters.client_id
        conditions.append(_WITH_CREDENTIAL)
    return sql.SQL(" AND ").join(conditions)
