"""The state of an organization's ledger and prices (`billing.reports.response_cache_redis`): a function, so that its
plan is kept."""

from django.db import migrations

# Every batch that was acknowledged is among the unfolded ones, or was folded, which changes the version.
FUNCTION = """
CREATE FUNCTION billing_ledger_state(wanted bigint) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN concat(
        (SELECT version FROM billing_ledgerstate WHERE organization_id = wanted),
        '/',
        (SELECT md5(string_agg(id::text, ',' ORDER BY id)) FROM billing_ingestbatch
            WHERE organization_id = wanted AND folded_at IS NULL),
        '/',
        (SELECT string_agg(revision::text, ',' ORDER BY organization_id) FROM billing_pricebookrevision
            WHERE organization_id = wanted OR organization_id IS NULL)
    );
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_something_waits")]

    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION billing_ledger_state(bigint)")]
