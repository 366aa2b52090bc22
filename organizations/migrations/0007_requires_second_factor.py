"""Organizations whose members need a second factor."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0006_caller_version")]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="requires_second_factor",
            field=models.BooleanField(
                default=False,
                help_text="Members sign in with an authenticator app or a passkey beside their password. Whoever has "
                "neither is led to set one up first.",
            ),
        ),
    ]
