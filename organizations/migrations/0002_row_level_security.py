"""The role that tenant scopes act as, and the policies of this app's tables (`costtrack.tenancy`)."""

from django.db import migrations

ROLE = """
DO $$
BEGIN
    -- Roles belong to the whole server, so another database's migration may be making the same one right now.
    CREATE ROLE costtrack_tenant NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;
"""

GRANTS = """
DO $$
BEGIN
    EXECUTE format('GRANT costtrack_tenant TO %I', current_user);
EXCEPTION WHEN internal_error THEN
    -- "tuple concurrently updated": another database's migration granted it at the same moment.
    NULL;
END $$;
GRANT USAGE ON SCHEMA public TO costtrack_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO costtrack_tenant;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO costtrack_tenant;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO costtrack_tenant;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO costtrack_tenant;
"""

# The inner SELECT makes the planner read the setting once for a query, not once for a row.
FUNCTION = """
CREATE FUNCTION costtrack_organizations() RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT string_to_array(current_setting('costtrack.organizations', true), ',')::bigint[] $$;
"""

TABLES = ("organizations_membership", "organizations_apicredential", "organizations_auditentry")


def policy(table: str, column: str) -> str:
    own = f"{column} = ANY ((SELECT costtrack_organizations())::bigint[])"
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY {table}_tenant ON {table} TO costtrack_tenant USING ({own}) WITH CHECK ({own});"
    )


class Migration(migrations.Migration):
    dependencies = [("organizations", "0001_initial")]

    operations = [
        migrations.RunSQL(ROLE, migrations.RunSQL.noop),
        migrations.RunSQL(GRANTS, migrations.RunSQL.noop),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION costtrack_organizations();"),
        migrations.RunSQL(
            policy("organizations_organization", "id"),
            "DROP POLICY organizations_organization_tenant ON organizations_organization;"
            "ALTER TABLE organizations_organization DISABLE ROW LEVEL SECURITY;",
        ),
        *(
            migrations.RunSQL(
                policy(table, "organization_id"),
                f"DROP POLICY {table}_tenant ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;",
            )
            for table in TABLES
        ),
    ]
