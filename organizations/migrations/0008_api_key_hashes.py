import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0007_plan_concurrency")]

    operations = [
        migrations.AddField(
            model_name="apicredential",
            name="api_key_hashes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=64), default=list, editable=False
            ),
        ),
    ]
