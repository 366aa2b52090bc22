"""Spend limits: row-level security, the views of the new rollups and what an installation that has usage already needs
in them, and the limits that plans bring along."""

from django.db import migrations

OWN = "organization_id = ANY ((SELECT costtrack_organizations())::bigint[])"
TENANT_TABLES = (
    "billing_authorization",
    "billing_delivery",
    "billing_increaserequest",
    "billing_limitbookrevision",
    "billing_limitcrossing",
    "billing_limitexception",
    "billing_notice",
    "billing_notificationpreference",
    "billing_scopehour",
    "billing_scopetotal",
    "billing_spendlimit",
    "billing_webhookendpoint",
)

SCOPES_OF_EVENT = """CROSS JOIN LATERAL (
    SELECT 'organization' AS scope, '' AS value
    UNION ALL SELECT scope, value FROM (VALUES
        ('credential', coalesce(event.credential_id::text, '')), ('user', event.user_ref), ('model', event.model),
        ('workflow', event.workflow_id), ('run', event.run_id), ('session', event.session_id)
    ) AS told (scope, value) WHERE value <> ''
    UNION ALL SELECT 'tag', tag FROM unnest(event.tags) AS label (tag) WHERE tag <> ''
) AS part"""
UNFOLDED = """billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id"""
TAIL_COSTS = """(false)::boolean,
    (event.requests)::bigint, (event.unpriced)::bigint,
    (coalesce(event.token_cost_usd, 0) + event.compute_cost_usd)::numeric(60, 24),
    (greatest(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd, 0))::numeric(60, 24),
    (event.received_at)::timestamp with time zone"""
HOUR = "(date_trunc('hour', event.occurred_at, 'UTC'))::timestamp with time zone"
COSTS = "archived, requests, unpriced, cost_usd, charged_usd, last_received_at"
VIEWS = {
    "billing_livescopehour": f"""
CREATE VIEW billing_livescopehour WITH (security_invoker = true) AS
SELECT organization_id, scope, value, hour, {COSTS} FROM billing_scopehour
UNION ALL
SELECT (event.organization_id)::bigint, (part.scope)::varchar(16), (part.value)::varchar(255), {HOUR}, {TAIL_COSTS}
FROM {UNFOLDED} {SCOPES_OF_EVENT}
WHERE batch.folded_at IS NULL AND true
""",
    "billing_livescopetotal": f"""
CREATE VIEW billing_livescopetotal WITH (security_invoker = true) AS
SELECT organization_id, value, scope, {COSTS} FROM billing_scopetotal
UNION ALL
SELECT (event.organization_id)::bigint, (part.value)::varchar(255), (part.scope)::varchar(16), {TAIL_COSTS}
FROM {UNFOLDED} {SCOPES_OF_EVENT}
WHERE batch.folded_at IS NULL AND true
""",
}

# What is still there comes from the ledger, and what was dropped from the rollups that have it: only lifetime windows
# reach back so far. (Nothing kept a workflow's costs.)
ARCHIVED = (
    ("'organization'", "''", "hour", "billing_organizationhour"),
    ("'credential'", "credential_id::text", "hour", "billing_usagehour"),
    ("'model'", "model", "hour", "billing_usagehour"),
    ("'user'", "user_ref", "day::timestamp AT TIME ZONE 'UTC'", "billing_spendday"),
    ("'tag'", "tag", "day::timestamp AT TIME ZONE 'UTC'", "billing_tagday"),
    ("'run'", "run_id", "day::timestamp AT TIME ZONE 'UTC'", "billing_runday"),
    ("'session'", "session_id", "date_trunc('hour', last_at, 'UTC')", "billing_sessiontotal"),
)
FILLED = (
    f"""
INSERT INTO billing_scopehour (organization_id, scope, value, hour, {COSTS})
SELECT event.organization_id, part.scope, part.value, {HOUR}, false, sum(event.requests), sum(event.unpriced),
    sum(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd),
    sum(greatest(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd, 0)), max(event.received_at)
FROM {UNFOLDED} {SCOPES_OF_EVENT}
WHERE batch.folded_at IS NOT NULL
GROUP BY 1, 2, 3, 4
""",
    *(
        f"""
INSERT INTO billing_scopehour (organization_id, scope, value, hour, {COSTS})
SELECT organization_id, {scope}, {value}, {hour}, true, sum(requests), sum(unpriced),
    sum(token_cost_usd + compute_cost_usd), sum(greatest(token_cost_usd + compute_cost_usd, 0)), max({hour})
FROM {table} WHERE archived AND ({scope} = 'organization' OR {value} NOT IN ('', '0'))
GROUP BY 1, 2, 3, 4
"""
        for scope, value, hour, table in ARCHIVED
    ),
    f"""
INSERT INTO billing_scopetotal (organization_id, value, scope, {COSTS})
SELECT organization_id, value, scope, archived, sum(requests), sum(unpriced), sum(cost_usd), sum(charged_usd),
    max(last_received_at)
FROM billing_scopehour GROUP BY organization_id, value, scope, archived
""",
    """
INSERT INTO billing_spendlimit (organization_id, scope, scope_value, "window", amount_usd, action, thresholds, is_plan,
    created_at)
SELECT organization.id, 'organization', '', kind."window", kind.amount, 'pause', '{80,95,100}', true, now()
FROM organizations_organization AS organization
JOIN organizations_plan AS plan ON plan.code = organization.plan_id
CROSS JOIN LATERAL (VALUES ('rolling_7d', coalesce(plan.default_weekly_limit_usd, plan.max_weekly_limit_usd)),
    ('calendar_month', plan.max_monthly_limit_usd)) AS kind ("window", amount)
WHERE kind.amount IS NOT NULL
""",
)


def policy(table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY {table}_tenant ON {table} TO costtrack_tenant USING ({OWN}) WITH CHECK ({OWN});",
        f"DROP POLICY {table}_tenant ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;",
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0013_spend_limits")]

    operations = [
        # As everywhere, the organization leads the primary key (migration 0002).
        migrations.RunSQL(
            "ALTER TABLE billing_authorization DROP CONSTRAINT billing_authorization_pkey,"
            " ADD CONSTRAINT billing_authorization_pkey PRIMARY KEY (organization_id, id);",
            "ALTER TABLE billing_authorization DROP CONSTRAINT billing_authorization_pkey,"
            " ADD CONSTRAINT billing_authorization_pkey PRIMARY KEY (id);",
        ),
        *map(policy, TENANT_TABLES),
        *(migrations.RunSQL(view, f"DROP VIEW {name};") for name, view in VIEWS.items()),
        *(migrations.RunSQL(filled, migrations.RunSQL.noop) for filled in FILLED),
    ]
