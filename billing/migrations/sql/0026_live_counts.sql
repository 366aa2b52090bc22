-- Live views of rollups with all counts, again: the rare counts of an event are NULL instead of 0, so that its row is
-- smaller.
--
-- A live view has the rows of its rollup and a row for each event that is not folded yet, so it may have several rows
-- for one key: always sum them. Costs are in USD; days and hours are UTC. Both halves have exactly the table's types, so
-- that PostgreSQL applies a query's conditions to each of them.

CREATE OR REPLACE VIEW billing_liveusagehour WITH (security_invoker = true) AS
SELECT
    organization_id,
    hour,
    credential_id,
    capability,
    service,
    model,
    agent_id,
    status,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd,
    tool_calls,
    turns,
    cache_creation_1h_tokens,
    reasoning_tokens,
    audio_input_tokens,
    audio_output_tokens,
    tool_use_tokens,
    tool_result_tokens,
    duration_ms,
    agent_name
FROM billing_usagehour
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(date_trunc('hour', event.occurred_at, 'UTC') AS timestamp with time zone) AS hour,
    CAST(coalesce(event.credential_id, 0) AS bigint) AS credential_id,
    CAST(event.capability AS varchar(255)) AS capability,
    CAST(event.service AS varchar(255)) AS service,
    CAST(event.model AS varchar(255)) AS model,
    CAST(event.agent_id AS varchar(255)) AS agent_id,
    CAST(event.status AS varchar(8)) AS status,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(event.tool_calls AS bigint) AS tool_calls,
    CAST(event.turns AS bigint) AS turns,
    CAST(coalesce(event.cache_creation_1h_tokens, 0) AS bigint) AS cache_creation_1h_tokens,
    CAST(coalesce(event.reasoning_tokens, 0) AS bigint) AS reasoning_tokens,
    CAST(coalesce(event.audio_input_tokens, 0) AS bigint) AS audio_input_tokens,
    CAST(coalesce(event.audio_output_tokens, 0) AS bigint) AS audio_output_tokens,
    CAST(coalesce(event.tool_use_tokens, 0) AS bigint) AS tool_use_tokens,
    CAST(coalesce(event.tool_result_tokens, 0) AS bigint) AS tool_result_tokens,
    CAST(coalesce(event.duration_ms, 0) AS numeric(36, 3)) AS duration_ms,
    CAST(event.agent_name AS varchar(255)) AS agent_name
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL;

CREATE OR REPLACE VIEW billing_livesession WITH (security_invoker = true) AS
SELECT
    organization_id,
    session_id,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd,
    tool_calls,
    turns,
    cache_creation_1h_tokens,
    reasoning_tokens,
    audio_input_tokens,
    audio_output_tokens,
    tool_use_tokens,
    tool_result_tokens,
    duration_ms,
    execution_id,
    workflow_id,
    phase_id,
    workspace_id,
    agent_id,
    summaries,
    first_at,
    last_at,
    completed_at
FROM billing_session
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(event.session_id AS varchar(255)) AS session_id,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(event.tool_calls AS bigint) AS tool_calls,
    CAST(event.turns AS bigint) AS turns,
    CAST(coalesce(event.cache_creation_1h_tokens, 0) AS bigint) AS cache_creation_1h_tokens,
    CAST(coalesce(event.reasoning_tokens, 0) AS bigint) AS reasoning_tokens,
    CAST(coalesce(event.audio_input_tokens, 0) AS bigint) AS audio_input_tokens,
    CAST(coalesce(event.audio_output_tokens, 0) AS bigint) AS audio_output_tokens,
    CAST(coalesce(event.tool_use_tokens, 0) AS bigint) AS tool_use_tokens,
    CAST(coalesce(event.tool_result_tokens, 0) AS bigint) AS tool_result_tokens,
    CAST(coalesce(event.duration_ms, 0) AS numeric(36, 3)) AS duration_ms,
    CAST(event.execution_id AS varchar(255)) AS execution_id,
    CAST(event.workflow_id AS varchar(255)) AS workflow_id,
    CAST(event.phase_id AS varchar(255)) AS phase_id,
    CAST(event.workspace_id AS varchar(255)) AS workspace_id,
    CAST(event.agent_id AS varchar(255)) AS agent_id,
    CAST((event.kind = 'session_summary')::int AS bigint) AS summaries,
    CAST(event.occurred_at AS timestamp with time zone) AS first_at,
    CAST(event.occurred_at AS timestamp with time zone) AS last_at,
    CAST(CASE WHEN event.kind = 'session_summary' THEN event.occurred_at END AS timestamp with time zone) AS completed_at
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL
    AND event.session_id <> '';

CREATE OR REPLACE VIEW billing_livesessioncost WITH (security_invoker = true) AS
SELECT
    organization_id,
    session_id,
    phase_id,
    service,
    model,
    tool,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd,
    tool_calls,
    turns,
    cache_creation_1h_tokens,
    reasoning_tokens,
    audio_input_tokens,
    audio_output_tokens,
    tool_use_tokens,
    tool_result_tokens,
    duration_ms
FROM billing_sessioncost
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(event.session_id AS varchar(255)) AS session_id,
    CAST(event.phase_id AS varchar(255)) AS phase_id,
    CAST(event.service AS varchar(255)) AS service,
    CAST(event.model AS varchar(255)) AS model,
    CAST(event.tool AS varchar(255)) AS tool,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(event.tool_calls AS bigint) AS tool_calls,
    CAST(event.turns AS bigint) AS turns,
    CAST(coalesce(event.cache_creation_1h_tokens, 0) AS bigint) AS cache_creation_1h_tokens,
    CAST(coalesce(event.reasoning_tokens, 0) AS bigint) AS reasoning_tokens,
    CAST(coalesce(event.audio_input_tokens, 0) AS bigint) AS audio_input_tokens,
    CAST(coalesce(event.audio_output_tokens, 0) AS bigint) AS audio_output_tokens,
    CAST(coalesce(event.tool_use_tokens, 0) AS bigint) AS tool_use_tokens,
    CAST(coalesce(event.tool_result_tokens, 0) AS bigint) AS tool_result_tokens,
    CAST(coalesce(event.duration_ms, 0) AS numeric(36, 3)) AS duration_ms
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL
    AND event.session_id <> '';

CREATE OR REPLACE VIEW billing_livesessionmodel WITH (security_invoker = true) AS
SELECT
    organization_id,
    service,
    model,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd,
    tool_calls,
    turns,
    cache_creation_1h_tokens,
    reasoning_tokens,
    audio_input_tokens,
    audio_output_tokens,
    tool_use_tokens,
    tool_result_tokens,
    duration_ms
FROM billing_sessionmodel
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(event.service AS varchar(255)) AS service,
    CAST(event.model AS varchar(255)) AS model,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(event.tool_calls AS bigint) AS tool_calls,
    CAST(event.turns AS bigint) AS turns,
    CAST(coalesce(event.cache_creation_1h_tokens, 0) AS bigint) AS cache_creation_1h_tokens,
    CAST(coalesce(event.reasoning_tokens, 0) AS bigint) AS reasoning_tokens,
    CAST(coalesce(event.audio_input_tokens, 0) AS bigint) AS audio_input_tokens,
    CAST(coalesce(event.audio_output_tokens, 0) AS bigint) AS audio_output_tokens,
    CAST(coalesce(event.tool_use_tokens, 0) AS bigint) AS tool_use_tokens,
    CAST(coalesce(event.tool_result_tokens, 0) AS bigint) AS tool_result_tokens,
    CAST(coalesce(event.duration_ms, 0) AS numeric(36, 3)) AS duration_ms
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL
    AND event.session_id <> '';
