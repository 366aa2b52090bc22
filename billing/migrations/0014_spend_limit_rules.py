"""Spend limits: row-level security, the views of the new rollups and what an installation that has usage already needs
in them, the limits that plans bring along, and two functions: what is spent and held, and a reservation."""

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


DIMENSIONS = "credential_id, user_ref, model, workflow_id, run_id, session_id, tags"


def matches(row: str) -> str:
    """Whether a row (of the ledger, or an authorization) belongs to what is measured."""
    return f"""CASE measured.scope
        WHEN 'organization' THEN true
        WHEN 'credential' THEN {row}.credential_id::text = measured.value
        WHEN 'user' THEN {row}.user_ref = measured.value
        WHEN 'model' THEN {row}.model = measured.value
        WHEN 'workflow' THEN {row}.workflow_id = measured.value
        WHEN 'run' THEN {row}.run_id = measured.value
        WHEN 'session' THEN {row}.session_id = measured.value
        WHEN 'tag' THEN measured.value = ANY({row}.tags)
    END"""


# For each of some scopes with its value: what was spent from an instant on (NULL: ever), and what is held at `moment`.
# The rollups have whole hours; of the hour in which the window begins, `edge` says what it can have cost at most.
# Reading one snapshot, it sees an event together with the end of the authorization that it settled, or neither.
# `fallbacks` price the events that have no price, in USD per million tokens (NULL: they count nothing).
#
# Planning a question to the ledger, with its many partitions, takes longer than asking it: plans are kept, and the
# ledger is left alone where there is nothing to ask it.
MEASURED = (
    """unnest(scopes, "values", starts, fallbacks) """
    "WITH ORDINALITY AS measured (scope, value, start, fallback, place)"
)
FIRST_HOUR = "date_trunc('hour', measured.start + interval '1 hour' - interval '1 microsecond', 'UTC')"
METER = f"""
CREATE FUNCTION billing_meter(
    wanted bigint, scopes text[], "values" text[], starts timestamptz[], fallbacks numeric[], moment timestamptz
) RETURNS TABLE (place bigint, spent numeric, edge numeric, held numeric) LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    first_batch uuid;
    not_folded numeric[];
    not_priced numeric[];
BEGIN
    SELECT batch.id INTO first_batch FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = wanted AND batch.folded_at IS NULL ORDER BY batch.id LIMIT 1;
    IF first_batch IS NOT NULL THEN
        WITH tail AS MATERIALIZED (
            SELECT event.* FROM billing_ingestbatch AS batch CROSS JOIN LATERAL (
                SELECT token_cost_usd, compute_cost_usd, occurred_at, {DIMENSIONS} FROM billing_usageevent AS row
                WHERE row.organization_id = wanted AND row.id > first_batch
                    AND row.id > batch.id AND row.id <= batch.last_event_id
                OFFSET 0
            ) AS event
            WHERE batch.organization_id = wanted AND batch.folded_at IS NULL
        )
        SELECT array_agg(coalesce(sums.usd, 0) ORDER BY measured.place) INTO not_folded
        FROM {MEASURED} CROSS JOIN LATERAL (
            SELECT sum(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd) AS usd FROM tail AS event
            WHERE (measured.start IS NULL OR event.occurred_at >= measured.start) AND {matches("event")}
        ) AS sums;
    END IF;
    IF EXISTS (SELECT FROM unnest(fallbacks) AS told (price) WHERE told.price > 0) THEN
        SELECT array_agg(coalesce(sums.tokens * measured.fallback / 1000000, 0) ORDER BY measured.place) INTO not_priced
        FROM {MEASURED} CROSS JOIN LATERAL (
            SELECT sum(
                event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens
            ) AS tokens
            FROM billing_unpricedevent AS waiting
            JOIN billing_usageevent AS event ON event.organization_id = wanted AND event.id = waiting.event_id
            WHERE waiting.organization_id = wanted AND measured.fallback > 0 AND {matches("event")}
                AND (measured.start IS NULL OR event.occurred_at >= measured.start)
        ) AS sums;
    END IF;
    RETURN QUERY
    WITH open AS MATERIALIZED (
        SELECT amount_usd, {DIMENSIONS} FROM billing_authorization
        WHERE organization_id = wanted AND status = 'reserved' AND expires_at > moment
    )
    SELECT measured.place,
        coalesce(CASE WHEN measured.start IS NULL THEN (
            SELECT sum(kept.cost_usd) FROM billing_scopetotal AS kept
            WHERE kept.organization_id = wanted AND kept.scope = measured.scope AND kept.value = measured.value
        ) ELSE (
            SELECT sum(kept.cost_usd) FROM billing_scopehour AS kept
            WHERE kept.organization_id = wanted AND kept.scope = measured.scope AND kept.value = measured.value
                AND kept.hour >= {FIRST_HOUR}
        ) END, 0) + coalesce(not_folded[measured.place], 0) + coalesce(not_priced[measured.place], 0),
        coalesce(CASE WHEN {FIRST_HOUR} > measured.start THEN (
            SELECT sum(kept.charged_usd) FROM billing_scopehour AS kept
            WHERE kept.organization_id = wanted AND kept.scope = measured.scope AND kept.value = measured.value
                AND kept.hour = {FIRST_HOUR} - interval '1 hour'
        ) END, 0),
        coalesce((
            SELECT sum(held.amount_usd) FROM open AS held WHERE {matches("held")}
        ), 0)
    FROM {MEASURED} ORDER BY measured.place;
END $$
"""

# Reserve, if nothing stands in the way: no limit without room (`bounds`, NULL: none), no limit that has changed since
# the book of the `expected` revision was read, no other use of the idempotency key. All of it happens here, because the
# locks are held meanwhile: how long that takes is how many reservations there can be.
#
# Each statement sees what was committed when it began, so spend and holds are read behind the locks.
RESERVE = """
CREATE FUNCTION billing_reserve(
    wanted bigint, locks bigint[], scopes text[], "values" text[], starts timestamptz[], fallbacks numeric[],
    bounds numeric[], expected bigint, new_id uuid, credential bigint, amount numeric, made_at timestamptz,
    until timestamptz, key text, hash bigint, of_service text, of_model text, of_user text, of_workflow text,
    of_run text, of_session text, of_tags text[]
) RETURNS TABLE (is_granted boolean, revision bigint, spent numeric, edge numeric, held numeric) LANGUAGE plpgsql AS $$
DECLARE
    seen bigint;
    granted boolean := false;
    all_spent numeric[];
    all_edges numeric[];
    all_held numeric[];
BEGIN
    -- A connection's first call makes the plans, which takes its time: before the locks, not behind them.
    PERFORM FROM billing_meter(wanted, '{}', '{}', '{}', '{}', made_at);
    PERFORM pg_advisory_xact_lock(told.key) FROM unnest(locks) AS told (key);
    SELECT array_agg(meter.spent ORDER BY meter.place), array_agg(meter.edge ORDER BY meter.place),
        array_agg(meter.held ORDER BY meter.place)
    INTO all_spent, all_edges, all_held
    FROM billing_meter(wanted, scopes, "values", starts, fallbacks, made_at) AS meter;
    SELECT coalesce(max(book.revision), 0) INTO seen FROM billing_limitbookrevision AS book
    WHERE book.organization_id = wanted;
    IF seen = expected AND NOT EXISTS (
        SELECT FROM unnest(all_spent, all_edges, all_held, bounds) AS meter (spent, edge, held, bound)
        WHERE meter.spent + meter.edge >= meter.bound OR meter.spent + meter.edge + meter.held + amount > meter.bound
    ) THEN
        INSERT INTO billing_authorization (id, organization_id, credential_id, status, amount_usd, created_at,
            expires_at, idempotency_key, payload_hash, service, model, user_ref, workflow_id, run_id, session_id, tags)
        VALUES (new_id, wanted, credential, 'reserved', amount, made_at, until, key, hash, of_service, of_model,
            of_user, of_workflow, of_run, of_session, of_tags)
        ON CONFLICT (organization_id, idempotency_key) WHERE idempotency_key <> '' DO NOTHING;
        granted := FOUND;
    END IF;
    RETURN QUERY
    SELECT granted, seen, meter.spent, meter.edge, meter.held FROM (SELECT 1) AS one
    LEFT JOIN unnest(all_spent, all_edges, all_held) WITH ORDINALITY AS meter (spent, edge, held, place) ON true
    ORDER BY meter.place;
END $$
"""


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
        migrations.RunSQL(
            METER,
            "DROP FUNCTION billing_meter(bigint, text[], text[], timestamptz[], numeric[], timestamptz);",
        ),
        migrations.RunSQL(RESERVE, "DROP FUNCTION billing_reserve;"),
    ]
