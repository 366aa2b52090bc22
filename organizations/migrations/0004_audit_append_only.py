"""The audit log can only be added to."""

from django.db import migrations

APPEND_ONLY = """
CREATE FUNCTION costtrack_refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'The audit log is append-only: % is refused.', TG_OP; END $$;
CREATE TRIGGER auditentry_append_only BEFORE UPDATE OR DELETE ON organizations_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION costtrack_refuse_audit_change();
"""


class Migration(migrations.Migration):
    dependencies = [("organizations", "0003_plans")]

    operations = [
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER auditentry_append_only ON organizations_auditentry;"
            "DROP FUNCTION costtrack_refuse_audit_change();",
        ),
    ]
