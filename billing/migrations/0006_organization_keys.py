"""Organizations have no accessors of their tenants' rows, which are read as `Model.objects.of(organization)`. The
tables do not change."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

MODELS = (
    "delivery",
    "ingestbatch",
    "notice",
    "quarantinedrecord",
    "repricing",
    "run",
    "spendlimit",
    "unpricedevent",
    "webhookendpoint",
)
WITHOUT_CONSTRAINT = ("authorization", "usageevent")


def _key(*, has_constraint: bool = True) -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(
        "organizations.organization",
        db_constraint=has_constraint,
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_entity_keys")]

    operations = [
        *(migrations.AlterField(model, "organization", _key()) for model in MODELS),
        *(migrations.AlterField(model, "organization", _key(has_constraint=False)) for model in WITHOUT_CONSTRAINT),
    ]
