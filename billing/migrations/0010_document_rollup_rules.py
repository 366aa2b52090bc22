"""What the five documents ask rollups for: row-level security, the views that reports read, the counts that triggers
keep, and what an installation that has usage already needs in the new tables.

Customers and executions come from the events that are still there; the others from rollups, so also what was archived.
"""

from django.db import migrations

OWN = "organization_id = ANY ((SELECT costtrack_organizations())::bigint[])"
TENANT_TABLES = (
    "billing_customerday",
    "billing_executiontotal",
    "billing_grouptotal",
    "billing_ledgerstate",
    "billing_modelday",
    "billing_organizationhour",
    "billing_sessionmodel",
    "billing_usageday",
    "billing_userday",
    "billing_usertotal",
)
VIEWS = {
    "billing_liveorganizationhour": """
CREATE VIEW billing_liveorganizationhour WITH (security_invoker = true) AS
SELECT organization_id, hour, status, archived, requests, unpriced, input_tokens, output_tokens,
    cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd
FROM billing_organizationhour
UNION ALL
SELECT (event.organization_id)::bigint, (date_trunc('hour', event.occurred_at, 'UTC'))::timestamp with time
    zone, (event.status)::varchar(8), (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint,
    (event.input_tokens)::bigint, (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint,
    (event.cache_creation_tokens)::bigint, (coalesce(event.token_cost_usd, 0))::numeric(60, 24),
    (event.compute_cost_usd)::numeric(60, 24)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND true
""",
    "billing_liveusageday": """
CREATE VIEW billing_liveusageday WITH (security_invoker = true) AS
SELECT organization_id, day, credential_id, capability, service, model, status, archived, requests,
    unpriced, input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd,
    compute_cost_usd
FROM billing_usageday
UNION ALL
SELECT (event.organization_id)::bigint, ((event.occurred_at AT TIME ZONE 'UTC')::date)::date,
    (coalesce(event.credential_id, 0))::bigint, (event.capability)::varchar(255),
    (event.service)::varchar(255), (event.model)::varchar(255), (event.status)::varchar(8),
    (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND true
""",
    "billing_livemodelday": """
CREATE VIEW billing_livemodelday WITH (security_invoker = true) AS
SELECT organization_id, day, service, model, agent_id, archived, requests, unpriced, input_tokens,
    output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd, agent_name
FROM billing_modelday
UNION ALL
SELECT (event.organization_id)::bigint, ((event.occurred_at AT TIME ZONE 'UTC')::date)::date,
    (event.service)::varchar(255), (event.model)::varchar(255), (event.agent_id)::varchar(255),
    (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24),
    (event.agent_name)::varchar(255)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND true
""",
    "billing_livesessionmodel": """
CREATE VIEW billing_livesessionmodel WITH (security_invoker = true) AS
SELECT organization_id, service, model, archived, requests, unpriced, input_tokens, output_tokens,
    cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd, tool_calls, turns,
    cache_creation_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, tool_use_tokens,
    tool_result_tokens, duration_ms
FROM billing_sessionmodel
UNION ALL
SELECT (event.organization_id)::bigint, (event.service)::varchar(255), (event.model)::varchar(255),
    (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24),
    (event.tool_calls)::bigint, (event.turns)::bigint, (event.cache_creation_1h_tokens)::bigint,
    (event.reasoning_tokens)::bigint, (event.audio_input_tokens)::bigint,
    (event.audio_output_tokens)::bigint, (event.tool_use_tokens)::bigint,
    (event.tool_result_tokens)::bigint, (coalesce(event.duration_ms, 0))::numeric(36, 3)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND event.session_id <> ''
""",
    "billing_liveexecutiontotal": """
CREATE VIEW billing_liveexecutiontotal WITH (security_invoker = true) AS
SELECT organization_id, execution_id, archived, requests, unpriced, input_tokens, output_tokens,
    cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd, first_at, last_at
FROM billing_executiontotal
UNION ALL
SELECT (event.organization_id)::bigint, (event.execution_id)::varchar(255), (false)::boolean,
    (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24),
    (event.occurred_at)::timestamp with time zone, (event.occurred_at)::timestamp with time zone
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND event.execution_id <> '' AND event.session_id <> ''
""",
    "billing_livegrouptotal": """
CREATE VIEW billing_livegrouptotal WITH (security_invoker = true) AS
SELECT organization_id, group_id, archived, requests, unpriced, input_tokens, output_tokens,
    cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd, group_name, session_id,
    first_at, last_at
FROM billing_grouptotal
UNION ALL
SELECT (event.organization_id)::bigint, (event.group_id)::varchar(255), (false)::boolean,
    (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24),
    (event.group_name)::varchar(255), (event.session_id)::varchar(255), (event.occurred_at)::timestamp with
    time zone, (event.occurred_at)::timestamp with time zone
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND event.group_id <> ''
""",
    "billing_liveuserday": """
CREATE VIEW billing_liveuserday WITH (security_invoker = true) AS
SELECT organization_id, day, user_ref, archived, requests, unpriced, input_tokens, output_tokens,
    cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd
FROM billing_userday
UNION ALL
SELECT (event.organization_id)::bigint, ((event.occurred_at AT TIME ZONE 'UTC')::date)::date,
    (event.user_ref)::varchar(255), (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint,
    (event.input_tokens)::bigint, (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint,
    (event.cache_creation_tokens)::bigint, (coalesce(event.token_cost_usd, 0))::numeric(60, 24),
    (event.compute_cost_usd)::numeric(60, 24)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND true
""",
    "billing_liveusertotal": """
CREATE VIEW billing_liveusertotal WITH (security_invoker = true) AS
SELECT organization_id, user_ref, archived, requests, unpriced, input_tokens, output_tokens,
    cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd
FROM billing_usertotal
UNION ALL
SELECT (event.organization_id)::bigint, (event.user_ref)::varchar(255), (false)::boolean,
    (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND true
""",
    "billing_livecustomerday": """
CREATE VIEW billing_livecustomerday WITH (security_invoker = true) AS
SELECT organization_id, day, end_user, credential_id, model, archived, requests, unpriced, input_tokens,
    output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd
FROM billing_customerday
UNION ALL
SELECT (event.organization_id)::bigint, ((event.occurred_at AT TIME ZONE 'UTC')::date)::date,
    (event.end_user)::varchar(255), (coalesce(event.credential_id, 0))::bigint, (event.model)::varchar(255),
    (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND event.end_user <> ''
""",
}
FILLED = (
    """
INSERT INTO billing_organizationhour (organization_id, hour, status, archived, requests, unpriced,
    input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd)
SELECT organization_id, hour, status, archived, sum(requests), sum(unpriced), sum(input_tokens),
    sum(output_tokens), sum(cache_read_tokens), sum(cache_creation_tokens), sum(token_cost_usd),
    sum(compute_cost_usd)
FROM billing_usagehour AS finer
GROUP BY organization_id, hour, status, archived
""",
    """
INSERT INTO billing_usageday (organization_id, day, credential_id, capability, service, model, status,
    archived, requests, unpriced, input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens,
    token_cost_usd, compute_cost_usd)
SELECT organization_id, (finer.hour AT TIME ZONE 'UTC')::date, credential_id, capability, service, model,
    status, archived, sum(requests), sum(unpriced), sum(input_tokens), sum(output_tokens),
    sum(cache_read_tokens), sum(cache_creation_tokens), sum(token_cost_usd), sum(compute_cost_usd)
FROM billing_usagehour AS finer
GROUP BY organization_id, (finer.hour AT TIME ZONE 'UTC')::date, credential_id, capability, service, model,
    status, archived
""",
    """
INSERT INTO billing_modelday (organization_id, day, service, model, agent_id, archived, requests, unpriced,
    input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd,
    agent_name)
SELECT organization_id, (finer.hour AT TIME ZONE 'UTC')::date, service, model, agent_id, archived,
    sum(requests), sum(unpriced), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
    sum(cache_creation_tokens), sum(token_cost_usd), sum(compute_cost_usd), max(agent_name)
FROM billing_usagehour AS finer
GROUP BY organization_id, (finer.hour AT TIME ZONE 'UTC')::date, service, model, agent_id, archived
""",
    """
INSERT INTO billing_sessionmodel (organization_id, service, model, archived, requests, unpriced,
    input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd,
    tool_calls, turns, cache_creation_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens,
    tool_use_tokens, tool_result_tokens, duration_ms)
SELECT organization_id, service, model, archived, sum(requests), sum(unpriced), sum(input_tokens),
    sum(output_tokens), sum(cache_read_tokens), sum(cache_creation_tokens), sum(token_cost_usd),
    sum(compute_cost_usd), sum(tool_calls), sum(turns), sum(cache_creation_1h_tokens),
    sum(reasoning_tokens), sum(audio_input_tokens), sum(audio_output_tokens), sum(tool_use_tokens),
    sum(tool_result_tokens), sum(duration_ms)
FROM billing_sessioncost AS finer
GROUP BY organization_id, service, model, archived
""",
    """
INSERT INTO billing_executiontotal (organization_id, execution_id, archived, requests, unpriced,
    input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd,
    first_at, last_at)
SELECT event.organization_id, event.execution_id, false, sum(event.requests), sum(event.unpriced),
    sum(event.input_tokens), sum(event.output_tokens), sum(event.cache_read_tokens),
    sum(event.cache_creation_tokens), sum(coalesce(event.token_cost_usd, 0)), sum(event.compute_cost_usd),
    min(event.occurred_at), max(event.occurred_at)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NOT NULL AND event.execution_id <> '' AND event.session_id <> ''
GROUP BY event.organization_id, event.execution_id
""",
    """
INSERT INTO billing_grouptotal (organization_id, group_id, archived, requests, unpriced, input_tokens,
    output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd, group_name,
    session_id, first_at, last_at)
SELECT organization_id, group_id, archived, sum(requests), sum(unpriced), sum(input_tokens),
    sum(output_tokens), sum(cache_read_tokens), sum(cache_creation_tokens), sum(token_cost_usd),
    sum(compute_cost_usd), max(group_name), max(session_id), min(first_at), max(last_at)
FROM billing_groupday AS finer
GROUP BY organization_id, group_id, archived
""",
    """
INSERT INTO billing_userday (organization_id, day, user_ref, archived, requests, unpriced, input_tokens,
    output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd)
SELECT organization_id, day, user_ref, archived, sum(requests), sum(unpriced), sum(input_tokens),
    sum(output_tokens), sum(cache_read_tokens), sum(cache_creation_tokens), sum(token_cost_usd),
    sum(compute_cost_usd)
FROM billing_spendday AS finer
GROUP BY organization_id, day, user_ref, archived
""",
    """
INSERT INTO billing_usertotal (organization_id, user_ref, archived, requests, unpriced, input_tokens,
    output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd)
SELECT organization_id, user_ref, archived, sum(requests), sum(unpriced), sum(input_tokens),
    sum(output_tokens), sum(cache_read_tokens), sum(cache_creation_tokens), sum(token_cost_usd),
    sum(compute_cost_usd)
FROM billing_spendday AS finer
GROUP BY organization_id, user_ref, archived
""",
    """
INSERT INTO billing_customerday (organization_id, day, end_user, credential_id, model, archived, requests,
    unpriced, input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd,
    compute_cost_usd)
SELECT event.organization_id, (event.occurred_at AT TIME ZONE 'UTC')::date, event.end_user,
    coalesce(event.credential_id, 0), event.model, false, sum(event.requests), sum(event.unpriced),
    sum(event.input_tokens), sum(event.output_tokens), sum(event.cache_read_tokens),
    sum(event.cache_creation_tokens), sum(coalesce(event.token_cost_usd, 0)), sum(event.compute_cost_usd)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NOT NULL AND event.end_user <> ''
GROUP BY event.organization_id, (event.occurred_at AT TIME ZONE 'UTC')::date, event.end_user,
    coalesce(event.credential_id, 0), event.model
""",
)
# Which table's keys are counted in which column of billing_ledgerstate.
COUNTED = (
    ("billing_sessiontotal", "session_id", "sessions"),
    ("billing_executiontotal", "execution_id", "executions"),
    ("billing_grouptotal", "group_id", "groups"),
)
# A key may have two rows, one of them archived: it counts when the first comes, until the last has gone. (No statement
# adds both.)
ADDED = """
CREATE FUNCTION {table}_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_ledgerstate AS state (organization_id, {column})
    SELECT organization_id, count(*) FROM added
    WHERE NOT EXISTS (
        SELECT FROM {table} AS other WHERE other.organization_id = added.organization_id
            AND other.{key} = added.{key} AND other.archived <> added.archived
    )
    GROUP BY organization_id
    ON CONFLICT (organization_id) DO UPDATE SET {column} = state.{column} + excluded.{column};
    RETURN NULL;
END $$;
CREATE TRIGGER {table}_added AFTER INSERT ON {table} REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_added();
"""
REMOVED = """
CREATE FUNCTION {table}_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing_ledgerstate AS state SET {column} = state.{column} - gone.keys
    FROM (
        SELECT organization_id, count(DISTINCT {key}) AS keys FROM removed
        WHERE NOT EXISTS (
            SELECT FROM {table} AS other
            WHERE other.organization_id = removed.organization_id AND other.{key} = removed.{key}
        )
        GROUP BY organization_id
    ) AS gone WHERE state.organization_id = gone.organization_id;
    RETURN NULL;
END $$;
CREATE TRIGGER {table}_removed AFTER DELETE ON {table} REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_removed();
"""
NO_MORE = """
DROP TRIGGER {table}_added ON {table};
DROP TRIGGER {table}_removed ON {table};
DROP FUNCTION {table}_added();
DROP FUNCTION {table}_removed();
"""
COUNTS = """
INSERT INTO billing_ledgerstate AS state (organization_id, {column})
SELECT organization_id, count(DISTINCT {key}) FROM {table} GROUP BY organization_id
ON CONFLICT (organization_id) DO UPDATE SET {column} = excluded.{column}
"""


def policy(table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY {table}_tenant ON {table} TO costtrack_tenant USING ({OWN}) WITH CHECK ({OWN});",
        f"DROP POLICY {table}_tenant ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;",
    )


def triggers(table: str, key: str, column: str) -> migrations.RunSQL:
    names = {"table": table, "key": key, "column": column}
    return migrations.RunSQL((ADDED + REMOVED).format(**names), NO_MORE.format(**names))


def counts(table: str, key: str, column: str) -> migrations.RunSQL:
    return migrations.RunSQL(COUNTS.format(table=table, key=key, column=column), migrations.RunSQL.noop)


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_document_rollups")]

    operations = [
        *map(policy, TENANT_TABLES),
        *(migrations.RunSQL(view, f"DROP VIEW {name};") for name, view in VIEWS.items()),
        *(migrations.RunSQL(filled, migrations.RunSQL.noop) for filled in FILLED),
        *(counts(*counted) for counted in COUNTED),
        *(triggers(*counted) for counted in COUNTED),
    ]
