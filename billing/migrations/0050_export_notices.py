"""Notices about files that are ready, or that could not be created; and shared views of credentials."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

_KINDS = [
    ("limit.threshold_reached", "Limit nearly reached"),
    ("limit.paused", "Access paused"),
    ("limit.exceeded", "Limit exceeded"),
    ("limit.resumed", "Access resumed"),
    ("increase.requested", "Increase requested"),
    ("increase.granted", "Increase approved"),
    ("increase.declined", "Increase declined"),
    ("usage.unpriced", "Model without a price"),
    ("usage.flagged", "Usage needs a review"),
    ("webhook.disabled", "Webhook disabled"),
    ("export.ready", "Export ready"),
    ("export.failed", "Export failed"),
    ("month.closed", "Month closed"),
    ("test", "Test message"),
]


class Migration(migrations.Migration):
    dependencies = [("billing", "0049_exports")]

    operations = [
        migrations.AlterField(
            model_name="savedview",
            name="user",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                help_text="NULL for a shared view of a credential.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="notice",
            name="kind",
            field=models.CharField(choices=_KINDS, max_length=32),
        ),
        migrations.AlterField(
            model_name="webhookendpoint",
            name="kinds",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(choices=_KINDS, max_length=32),
                default=list,
                help_text="Kinds of notices. Empty: all.",
                size=None,
            ),
        ),
    ]
