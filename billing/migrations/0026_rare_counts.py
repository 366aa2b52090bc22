"""Rare counts of an event are NULL instead of 0."""

from django.db import migrations

import costtrack.fields
from costtrack.database.sql_files import run_sql_files

_RARE = (
    "cache_creation_1h_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "tool_use_tokens",
    "tool_result_tokens",
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0025_coverage")]

    operations = [
        *(
            migrations.AlterField("usageevent", name, costtrack.fields.RareCountField(default=0, null=True))
            for name in _RARE
        ),
        *run_sql_files(__file__, "live_counts"),
    ]
