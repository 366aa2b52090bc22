from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0053_provider_bills")]

    operations = [
        migrations.AddField(
            model_name="notice",
            name="request_id",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=64),
        ),
    ]
