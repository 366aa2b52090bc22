"""The tenants' role has rights only on what code inside a tenant scope needs."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0029_limit_conditions"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("organizations", "0010_security_log"),
    ]

    operations = run_sql_files(__file__, "tenant_rights")
