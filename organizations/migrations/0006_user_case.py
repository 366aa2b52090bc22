from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0005_idempotency_keys")]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="ignores_user_case",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Users are compared without regard to case: Ada@Acme.example is ada@acme.example. Applies to "
                "usage that is recorded from then on.",
            ),
        ),
    ]
