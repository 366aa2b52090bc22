"""Whether an organization has batches that are not folded yet (`billing.reports.live_rollups`), as a function:
PostgreSQL
keeps its plan for the connection, and planning takes longer than looking."""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION billing_something_waits(wanted bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM billing_ingestbatch WHERE organization_id = wanted AND folded_at IS NULL);
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_document_rollup_rules")]

    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION billing_something_waits(bigint)")]
