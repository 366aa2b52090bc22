"""Everything that an amount depends on: quantities, conditions, flags and known costs of events, prices of every kind
with their conditions, and agreements."""

from decimal import Decimal

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0008_is_truncated"),
        ("organizations", "0003_plans"),
    ]

    operations = [
        migrations.CreateModel(
            name="Agreement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "provider",
                    models.CharField(
                        help_text="Who bills the calls, for example openai, azure or aws. A * means any provider.",
                        max_length=64,
                    ),
                ),
                (
                    "model_patterns",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=255),
                        blank=True,
                        default=list,
                        help_text="Names of models of the catalog. A * matches any characters. Empty: every model.",
                        size=None,
                    ),
                ),
                ("discount_percent", models.DecimalField(decimal_places=6, default=Decimal(0), max_digits=9)),
                (
                    "kinds",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32),
                        blank=True,
                        default=list,
                        help_text="The kinds of usage that the discount is for. Empty: all.",
                        size=None,
                    ),
                ),
                (
                    "unit_prices",
                    models.JSONField(blank=True, default=dict, help_text="US dollars by kind, instead of the list's."),
                ),
                ("starts", models.DateField(blank=True, null=True)),
                ("ends", models.DateField(blank=True, help_text="The first day without the terms.", null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.RemoveConstraint(
            model_name="priceversion",
            name="price_version_once",
        ),
        migrations.AddField(
            model_name="priceversion",
            name="conditions",
            field=models.JSONField(blank=True, default=list, editable=False),
        ),
        migrations.AddField(
            model_name="priceversion",
            name="other_unit_prices",
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="attributes",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="calls",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="canonical_model",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="canonical_provider",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="cost_basis",
            field=models.CharField(
                blank=True,
                choices=[
                    ("provider", "The provider's own bill"),
                    ("sender", "Stated by the sender"),
                    ("computed", "Computed from the price"),
                    ("gateway", "A gateway's estimate"),
                    ("unknown", "Unknown"),
                ],
                db_default="",
                default="",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="flags",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="gateway_cost_usd",
            field=models.DecimalField(decimal_places=24, max_digits=36, null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="list_cost_usd",
            field=models.DecimalField(decimal_places=24, max_digits=36, null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="other_quantities",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="provider_cost_usd",
            field=models.DecimalField(decimal_places=24, max_digits=36, null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="region",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="service_tier",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="stated_cost_usd",
            field=models.DecimalField(decimal_places=24, max_digits=36, null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="usage_raw",
            field=models.JSONField(null=True),
        ),
        migrations.AlterField(
            model_name="priceversion",
            name="audio_input_usd_per_million",
            field=models.DecimalField(
                blank=True,
                decimal_places=12,
                help_text="Empty: the cost of audio input is unknown.",
                max_digits=24,
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="priceversion",
            name="audio_output_usd_per_million",
            field=models.DecimalField(
                blank=True,
                decimal_places=12,
                help_text="Empty: the cost of audio output is unknown.",
                max_digits=24,
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="priceversion",
            name="cache_creation_1h_usd_per_million",
            field=models.DecimalField(
                blank=True,
                decimal_places=12,
                help_text="1-hour cache writes. Empty: as the vendor documents, else as 5-minute ones and flagged.",
                max_digits=24,
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="priceversion",
            name="cache_creation_usd_per_million",
            field=models.DecimalField(
                blank=True,
                decimal_places=12,
                help_text="5-minute cache writes. Empty: as the vendor documents, else charged as input and flagged.",
                max_digits=24,
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="priceversion",
            name="cache_read_usd_per_million",
            field=models.DecimalField(
                blank=True,
                decimal_places=12,
                help_text="Empty: as the vendor documents, else charged as input and flagged.",
                max_digits=24,
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="priceversion",
            name="source",
            field=models.CharField(
                choices=[
                    ("catalog", "genai-prices catalog"),
                    ("litellm", "LiteLLM's map of prices"),
                    ("openrouter", "OpenRouter's list of models"),
                    ("manual", "Manual"),
                ],
                default="manual",
                editable=False,
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="unpricedevent",
            name="reason",
            field=models.CharField(
                choices=[
                    ("no_model", "The event has no model"),
                    ("no_price", "The model had no price at that time"),
                    ("no_unit_price", "The price has no unit price for some of the tokens"),
                    ("no_condition_price", "There is no price for the call's service tier, speed or region"),
                    ("no_usage", "The call succeeded without token counts"),
                    ("unreadable_usage", "The usage of the call could not be read"),
                ],
                max_length=32,
            ),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="unpriced_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("no_model", "The event has no model"),
                    ("no_price", "The model had no price at that time"),
                    ("no_unit_price", "The price has no unit price for some of the tokens"),
                    ("no_condition_price", "There is no price for the call's service tier, speed or region"),
                    ("no_usage", "The call succeeded without token counts"),
                    ("unreadable_usage", "The usage of the call could not be read"),
                ],
                db_default="",
                default="",
                max_length=32,
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("effective_to", None),
                    models.Q(("effective_to", models.F("effective_from")), _negated=True),
                    _connector="OR",
                ),
                fields=("organization", "provider", "model", "effective_from", "source"),
                name="price_version_once",
                nulls_distinct=False,
            ),
        ),
        *run_sql_files(__file__, "agreements"),
    ]
