"""Limits have several conditions, units, further windows, members, and a rule for calls without a value."""

import django.contrib.postgres.fields
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0014_model_identity"),
    ]

    operations = [
        migrations.AddField(
            model_name="authorization",
            name="agent_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="authorization",
            name="capability",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="authorization",
            name="end_user",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="authorization",
            name="environment",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="authorization",
            name="provider",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="authorization",
            name="team",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="authorization",
            name="tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="compiled_conditions",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=512, null=True), default=list, editable=False, size=None
            ),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="default_value",
            field=models.CharField(blank=True, default="", max_length=255),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="further_scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("organization", "Organization"),
                        ("credential", "Credential"),
                        ("environment", "Environment"),
                        ("user", "User"),
                        ("end_user", "End user"),
                        ("team", "Team"),
                        ("tag", "Tag"),
                        ("provider", "Provider"),
                        ("model", "Model"),
                        ("sent_model", "Model as sent"),
                        ("capability", "Capability"),
                        ("agent", "Agent"),
                        ("workflow", "Workflow"),
                        ("run", "Run"),
                        ("session", "Session"),
                    ],
                    max_length=16,
                ),
                default=list,
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="further_values",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(blank=True, max_length=255), default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="member_amounts",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="members",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=255), default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="missing",
            field=models.CharField(
                choices=[
                    ("allow", "Not covered by the limit"),
                    ("refuse", "Refused"),
                    ("default", "Counted under a default value"),
                ],
                default="allow",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="month_day",
            field=models.PositiveSmallIntegerField(default=1),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="unit",
            field=models.CharField(
                choices=[("usd", "US dollars"), ("tokens", "Tokens"), ("requests", "Requests")],
                default="usd",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="environment",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="provider",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="team",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="spendlimit",
            name="scope",
            field=models.CharField(
                choices=[
                    ("organization", "Organization"),
                    ("credential", "Credential"),
                    ("environment", "Environment"),
                    ("user", "User"),
                    ("end_user", "End user"),
                    ("team", "Team"),
                    ("tag", "Tag"),
                    ("provider", "Provider"),
                    ("model", "Model"),
                    ("sent_model", "Model as sent"),
                    ("capability", "Capability"),
                    ("agent", "Agent"),
                    ("workflow", "Workflow"),
                    ("run", "Run"),
                    ("session", "Session"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="spendlimit",
            name="window",
            field=models.CharField(
                choices=[
                    ("rolling_24h", "Rolling 24 hours"),
                    ("rolling_7d", "Rolling 7 days"),
                    ("rolling_30d", "Rolling 30 days"),
                    ("calendar_day", "Day"),
                    ("calendar_week", "Week"),
                    ("calendar_month", "Month"),
                    ("calendar_quarter", "Quarter"),
                    ("fixed_period", "Fixed period"),
                    ("lifetime", "Lifetime"),
                ],
                max_length=16,
            ),
        ),
        *run_sql_files(
            __file__,
            "limit_scopes",
            "live_scopes",
            "limit_reserved",
            "limit_balances",
            "limit_balance_details",
            "limit_spend_by_instant",
            "limit_reserve",
        ),
    ]
