"""How long single events are kept."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("organizations", "0004_audit_append_only"),
    ]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="retention_months",
            field=models.PositiveSmallIntegerField(
                default=0,
                help_text="Single events older than so many whole months are dropped; totals stay. "
                "0: as long as the installation keeps them.",
            ),
        ),
    ]
