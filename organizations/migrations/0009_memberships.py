"""Memberships are accepted before they count, have the `user_id`s of the member's own usage, and the role Member."""

import django.contrib.postgres.fields
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0008_api_key_hashes")]

    operations = [
        migrations.AddField(
            model_name="membership",
            name="accepted_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now, editable=False, help_text="Null: invited.", null=True
            ),
        ),
        migrations.AddField(
            model_name="membership",
            name="user_ids",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=255),
                blank=True,
                help_text="The `user_id`s in events that are this member's own usage. Null: the member's email "
                "address.",
                null=True,
                size=None,
            ),
        ),
        migrations.AlterField(
            model_name="membership",
            name="role",
            field=models.CharField(
                choices=[("owner", "Owner"), ("admin", "Admin"), ("viewer", "Viewer"), ("member", "Member")],
                default="viewer",
                max_length=16,
            ),
        ),
    ]
