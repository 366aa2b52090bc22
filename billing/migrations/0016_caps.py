"""Limits name cheaper models, and authorizations have caps."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0015_limit_conditions")]

    operations = [
        migrations.AddField(
            model_name="spendlimit",
            name="cheaper_models",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=255),
                blank=True,
                default=list,
                help_text="Models to offer, in order, when a call does not fit. Empty: none.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="authorization",
            name="caps",
            field=models.JSONField(null=True),
        ),
    ]
