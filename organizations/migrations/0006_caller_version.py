"""The version of a credential with its organization and plan (`organizations.credential_cache`), as a function:
PostgreSQL keeps
its plan for the connection, and planning takes longer than looking."""

from django.db import migrations

# Where a row's version lies, and the transaction that wrote it: each change of the row changes at least one of them.
FUNCTION = """
CREATE FUNCTION organizations_caller_version(wanted text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT concat_ws(
            ' ', credential.ctid, credential.xmin, organization.ctid, organization.xmin, plan.ctid, plan.xmin
        )
        FROM organizations_apicredential AS credential
        LEFT JOIN organizations_organization AS organization ON organization.id = credential.organization_id
        LEFT JOIN organizations_plan AS plan ON plan.code = organization.plan_id
        WHERE credential.client_id = wanted
    );
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("organizations", "0005_retention_months")]

    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION organizations_caller_version(text)")]
