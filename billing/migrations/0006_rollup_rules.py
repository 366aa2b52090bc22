"""Row-level security of the rollups and the events' keys, and the views that reports read."""

from django.db import migrations

OWN = "organization_id = ANY ((SELECT costtrack_organizations())::bigint[])"
TENANT_TABLES = (
    "billing_eventkey",
    "billing_groupday",
    "billing_runday",
    "billing_runserviceday",
    "billing_sessioncost",
    "billing_sessiontotal",
    "billing_spendday",
    "billing_tagday",
    "billing_usagehour",
)

VIEWS = {
    "billing_liveusagehour": """
CREATE VIEW billing_liveusagehour WITH (security_invoker = true) AS
SELECT organization_id, hour, credential_id, capability, service, model, agent_id, status, archived, requests,
    unpriced, input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd,
    compute_cost_usd, tool_calls, turns, cache_creation_1h_tokens, reasoning_tokens, audio_input_tokens,
    audio_output_tokens, tool_use_tokens, tool_result_tokens, duration_ms, agent_name
FROM billing_usagehour
UNION ALL
SELECT (event.organization_id)::bigint, (date_trunc('hour', event.occurred_at, 'UTC'))::timestamp with time
    zone, (coalesce(event.credential_id, 0))::bigint, (event.capability)::varchar(255),
    (event.service)::varchar(255), (event.model)::varchar(255), (event.agent_id)::varchar(255),
    (event.status)::varchar(8), (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint,
    (event.input_tokens)::bigint, (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint,
    (event.cache_creation_tokens)::bigint, (coalesce(event.token_cost_usd, 0))::numeric(60, 24),
    (event.compute_cost_usd)::numeric(60, 24), (event.tool_calls)::bigint, (event.turns)::bigint,
    (event.cache_creation_1h_tokens)::bigint, (event.reasoning_tokens)::bigint,
    (event.audio_input_tokens)::bigint, (event.audio_output_tokens)::bigint, (event.tool_use_tokens)::bigint,
    (event.tool_result_tokens)::bigint, (coalesce(event.duration_ms, 0))::numeric(36, 3),
    (event.agent_name)::varchar(255)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND true
""",
    "billing_liverunserviceday": """
CREATE VIEW billing_liverunserviceday WITH (security_invoker = true) AS
SELECT organization_id, day, service, cost_group, archived, requests, unpriced, input_tokens, output_tokens,
    cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd
FROM billing_runserviceday
UNION ALL
SELECT (event.organization_id)::bigint, ((event.occurred_at AT TIME ZONE 'UTC')::date)::date,
    (event.service)::varchar(255),
    (coalesce(nullif(event.cost_group, ''), event.model))::varchar(255),
    (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND event.run_id <> ''
""",
    "billing_liverunday": """
CREATE VIEW billing_liverunday WITH (security_invoker = true) AS
SELECT organization_id, run_id, day, service, cost_group, archived, requests, unpriced, input_tokens,
    output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd
FROM billing_runday
UNION ALL
SELECT (event.organization_id)::bigint, (event.run_id)::varchar(255), ((event.occurred_at AT TIME ZONE
    'UTC')::date)::date, (event.service)::varchar(255), (coalesce(nullif(event.cost_group, ''),
    event.model))::varchar(255), (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint,
    (event.input_tokens)::bigint, (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint,
    (event.cache_creation_tokens)::bigint, (coalesce(event.token_cost_usd, 0))::numeric(60, 24),
    (event.compute_cost_usd)::numeric(60, 24)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND event.run_id <> ''
""",
    "billing_livesessiontotal": """
CREATE VIEW billing_livesessiontotal WITH (security_invoker = true) AS
SELECT organization_id, session_id, archived, requests, unpriced, input_tokens, output_tokens,
    cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd, tool_calls, turns,
    cache_creation_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, tool_use_tokens,
    tool_result_tokens, duration_ms, execution_id, workflow_id, phase_id, workspace_id, agent_id, summaries,
    first_at, last_at, completed_at
FROM billing_sessiontotal
UNION ALL
SELECT (event.organization_id)::bigint, (event.session_id)::varchar(255), (false)::boolean,
    (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24),
    (event.tool_calls)::bigint, (event.turns)::bigint, (event.cache_creation_1h_tokens)::bigint,
    (event.reasoning_tokens)::bigint, (event.audio_input_tokens)::bigint, (event.audio_output_tokens)::bigint,
    (event.tool_use_tokens)::bigint, (event.tool_result_tokens)::bigint, (coalesce(event.duration_ms,
    0))::numeric(36, 3), (event.execution_id)::varchar(255), (event.workflow_id)::varchar(255),
    (event.phase_id)::varchar(255), (event.workspace_id)::varchar(255), (event.agent_id)::varchar(255),
    ((event.kind = 'session_summary')::int)::bigint, (event.occurred_at)::timestamp with time zone,
    (event.occurred_at)::timestamp with time zone, (CASE WHEN event.kind = 'session_summary' THEN
    event.occurred_at END)::timestamp with time zone
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND event.session_id <> ''
""",
    "billing_livesessioncost": """
CREATE VIEW billing_livesessioncost WITH (security_invoker = true) AS
SELECT organization_id, session_id, phase_id, service, model, tool, archived, requests, unpriced, input_tokens,
    output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd, tool_calls,
    turns, cache_creation_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, tool_use_tokens,
    tool_result_tokens, duration_ms
FROM billing_sessioncost
UNION ALL
SELECT (event.organization_id)::bigint, (event.session_id)::varchar(255), (event.phase_id)::varchar(255),
    (event.service)::varchar(255), (event.model)::varchar(255), (event.tool)::varchar(255), (false)::boolean,
    (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24),
    (event.tool_calls)::bigint, (event.turns)::bigint, (event.cache_creation_1h_tokens)::bigint,
    (event.reasoning_tokens)::bigint, (event.audio_input_tokens)::bigint, (event.audio_output_tokens)::bigint,
    (event.tool_use_tokens)::bigint, (event.tool_result_tokens)::bigint, (coalesce(event.duration_ms,
    0))::numeric(36, 3)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND event.session_id <> ''
""",
    "billing_livegroupday": """
CREATE VIEW billing_livegroupday WITH (security_invoker = true) AS
SELECT organization_id, group_id, day, service, model, agent_id, user_ref, archived, requests, unpriced,
    input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd,
    group_name, agent_name, session_id, first_at, last_at
FROM billing_groupday
UNION ALL
SELECT (event.organization_id)::bigint, (event.group_id)::varchar(255), ((event.occurred_at AT TIME ZONE
    'UTC')::date)::date, (event.service)::varchar(255), (event.model)::varchar(255),
    (event.agent_id)::varchar(255), (event.user_ref)::varchar(255), (false)::boolean, (event.requests)::bigint,
    (event.unpriced)::bigint, (event.input_tokens)::bigint, (event.output_tokens)::bigint,
    (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint, (coalesce(event.token_cost_usd,
    0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24), (event.group_name)::varchar(255),
    (event.agent_name)::varchar(255), (event.session_id)::varchar(255), (event.occurred_at)::timestamp with time
    zone, (event.occurred_at)::timestamp with time zone
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND event.group_id <> ''
""",
    "billing_livetagday": """
CREATE VIEW billing_livetagday WITH (security_invoker = true) AS
SELECT organization_id, day, tag, archived, requests, unpriced, input_tokens, output_tokens, cache_read_tokens,
    cache_creation_tokens, token_cost_usd, compute_cost_usd
FROM billing_tagday
UNION ALL
SELECT (event.organization_id)::bigint, ((event.occurred_at AT TIME ZONE 'UTC')::date)::date,
    (label.tag)::varchar(255), (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint,
    (event.input_tokens)::bigint, (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint,
    (event.cache_creation_tokens)::bigint, (coalesce(event.token_cost_usd, 0))::numeric(60, 24),
    (event.compute_cost_usd)::numeric(60, 24)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id CROSS JOIN LATERAL unnest(event.tags) AS label
    (tag)
WHERE batch.folded_at IS NULL AND true
""",
    "billing_livespendday": """
CREATE VIEW billing_livespendday WITH (security_invoker = true) AS
SELECT organization_id, day, credential_id, user_ref, model, archived, requests, unpriced, input_tokens,
    output_tokens, cache_read_tokens, cache_creation_tokens, token_cost_usd, compute_cost_usd
FROM billing_spendday
UNION ALL
SELECT (event.organization_id)::bigint, ((event.occurred_at AT TIME ZONE 'UTC')::date)::date,
    (coalesce(event.credential_id, 0))::bigint, (event.user_ref)::varchar(255), (event.model)::varchar(255),
    (false)::boolean, (event.requests)::bigint, (event.unpriced)::bigint, (event.input_tokens)::bigint,
    (event.output_tokens)::bigint, (event.cache_read_tokens)::bigint, (event.cache_creation_tokens)::bigint,
    (coalesce(event.token_cost_usd, 0))::numeric(60, 24), (event.compute_cost_usd)::numeric(60, 24)
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL AND true
""",
}


def policy(table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY {table}_tenant ON {table} TO costtrack_tenant USING ({OWN}) WITH CHECK ({OWN});",
        f"DROP POLICY {table}_tenant ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;",
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_rollups")]

    operations = [
        *map(policy, TENANT_TABLES),
        *(migrations.RunSQL(view, f"DROP VIEW {name};") for name, view in VIEWS.items()),
    ]
