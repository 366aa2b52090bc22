"""What the database itself guarantees: the organization leads every primary key, the ledger is append-only, and
tenants see their own rows (`costtrack.tenancy`)."""

from django.db import migrations

LED_BY_ORGANIZATION = ("billing_usageevent", "billing_ingestbatch", "billing_unpricedevent")
ID_COLUMN = {"billing_unpricedevent": "event_id"}

TENANT_TABLES = (
    "billing_ingestbatch",
    "billing_quarantinedrecord",
    "billing_run",
    "billing_unpricedevent",
    "billing_usageevent",
)
# Rows without an organization hold for everyone: tenants read them and cannot write them.
SHARED_TABLES = ("billing_priceversion", "billing_pricebookrevision")

APPEND_ONLY = """
CREATE FUNCTION costtrack_refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    RAISE EXCEPTION 'The ledger is append-only: % on % is refused.', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER usageevent_append_only BEFORE UPDATE OR DELETE ON billing_usageevent
    FOR EACH STATEMENT EXECUTE FUNCTION costtrack_refuse_change();
"""

OWN = "organization_id = ANY ((SELECT costtrack_organizations())::bigint[])"


def primary_key(table: str) -> migrations.RunSQL:
    column = ID_COLUMN.get(table, "id")
    drop = f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD CONSTRAINT {table}_pkey"
    return migrations.RunSQL(f"{drop} PRIMARY KEY (organization_id, {column});", f"{drop} PRIMARY KEY ({column});")


def policy(table: str, visible: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY {table}_tenant ON {table} TO costtrack_tenant USING ({visible}) WITH CHECK ({OWN});",
        f"DROP POLICY {table}_tenant ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;",
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("organizations", "0003_plans")]

    operations = [
        *(primary_key(table) for table in LED_BY_ORGANIZATION),
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER usageevent_append_only ON billing_usageevent; DROP FUNCTION costtrack_refuse_change();",
        ),
        *(policy(table, OWN) for table in TENANT_TABLES),
        *(policy(table, f"organization_id IS NULL OR {OWN}") for table in SHARED_TABLES),
    ]
