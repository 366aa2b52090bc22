"""A plan may set how many requests of an organization the web server handles at the same time."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0006_user_case")]

    operations = (
        migrations.AddField(
            "plan",
            "concurrency_percent",
            models.PositiveSmallIntegerField(
                null=True,
                blank=True,
                validators=(
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(100),
                ),
                help_text="Maximum percentage of the web server's threads for one organization while others are "
                "active. Empty: the installation's setting.",
            ),
        ),
    )
