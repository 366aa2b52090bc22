"""The four plans (docs/limits.md). After this migration they are rows that operators change."""

from decimal import Decimal
from typing import Any

from django.db import migrations

PLANS: list[dict[str, Any]] = [
    {"code": "free", "name": "Free", "position": 1, "api_access": False, "history_days": 90},
    {
        "code": "pay_as_you_go",
        "name": "Pay as you go",
        "position": 2,
        "history_days": 90,
        "default_weekly_limit_usd": Decimal(100),
        "max_weekly_limit_usd": Decimal(100),
        "requests_per_minute": 600,
    },
    {
        "code": "pro",
        "name": "Pro",
        "position": 3,
        "history_days": 90,
        "max_monthly_limit_usd": Decimal(800),
        "requests_per_minute": 3000,
    },
    {"code": "enterprise", "name": "Enterprise", "position": 4, "exports": True},
]


def add_plans(apps: Any, schema_editor: Any) -> None:
    plan = apps.get_model("organizations", "Plan")
    for row in PLANS:
        plan.objects.update_or_create(code=row["code"], defaults=row)


class Migration(migrations.Migration):
    dependencies = [("organizations", "0002_database_rules")]

    operations = [migrations.RunPython(add_plans, migrations.RunPython.noop)]
