"""What Django does not make: the tenants' role with its policies, the append-only audit log, and a function."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("organizations", "0001_initial")]

    operations = run_sql_files(__file__, "tenant_role", "tenant_policies", "audit_append_only", "credential_version")
