"""The outbox of e-mails about accounts. Inside a tenant scope its rows without an organization are invisible."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TABLE = "organizations_accountemail"
OWN = "organization_id = ANY ((SELECT costtrack_organizations())::bigint[])"


class Migration(migrations.Migration):
    dependencies = [
        ("organizations", "0007_requires_second_factor"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountEmail",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("invitation", "Invitation"),
                            ("password_reset", "Password reset"),
                            ("security_notice", "Security notice"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "address",
                    models.CharField(blank=True, help_text="Of a password reset: what was typed.", max_length=254),
                ),
                (
                    "details",
                    models.JSONField(default=dict, help_text="Of a security notice: which, and the network address."),
                ),
                ("message_id", models.CharField(max_length=64, unique=True)),
                ("created_at", models.DateTimeField()),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField()),
                ("claimed_until", models.DateTimeField(null=True)),
                ("failed_at", models.DateTimeField(help_text="When it was given up.", null=True)),
                ("last_error", models.CharField(blank=True, max_length=500)),
                (
                    "organization",
                    models.ForeignKey(
                        help_text="Which invites.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("failed_at__isnull", True)),
                        fields=["next_attempt_at"],
                        name="account_email_due",
                    )
                ],
            },
        ),
        migrations.RunSQL(
            f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY;"
            f"CREATE POLICY {TABLE}_tenant ON {TABLE} TO costtrack_tenant USING ({OWN}) WITH CHECK ({OWN});",
            f"DROP POLICY {TABLE}_tenant ON {TABLE}; ALTER TABLE {TABLE} DISABLE ROW LEVEL SECURITY;",
        ),
    ]
