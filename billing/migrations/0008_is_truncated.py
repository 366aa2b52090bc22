"""Whether the stored record is truncated."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_reached_at")]

    operations = [migrations.RenameField("quarantinedrecord", "is_cut", "is_truncated")]
