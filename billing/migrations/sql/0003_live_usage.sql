-- Live views of the rollups of usage by time, credential, model, agent and status.
--
-- A live view has the rows of its rollup and a row for each event that is not folded yet, so it may have several rows
-- for one key: always sum them. Costs are in USD; days and hours are UTC. Both halves have exactly the table's types, so
-- that PostgreSQL applies a query's conditions to each of them.

CREATE VIEW billing_liveusagehour WITH (security_invoker = true) AS
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
    CAST(event.cache_creation_1h_tokens AS bigint) AS cache_creation_1h_tokens,
    CAST(event.reasoning_tokens AS bigint) AS reasoning_tokens,
    CAST(event.audio_input_tokens AS bigint) AS audio_input_tokens,
    CAST(event.audio_output_tokens AS bigint) AS audio_output_tokens,
    CAST(event.tool_use_tokens AS bigint) AS tool_use_tokens,
    CAST(event.tool_result_tokens AS bigint) AS tool_result_tokens,
    CAST(coalesce(event.duration_ms, 0) AS numeric(36, 3)) AS duration_ms,
    CAST(event.agent_name AS varchar(255)) AS agent_name
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL;

CREATE VIEW billing_liveorganizationhour WITH (security_invoker = true) AS
SELECT
    organization_id,
    hour,
    status,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd
FROM billing_organizationhour
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(date_trunc('hour', event.occurred_at, 'UTC') AS timestamp with time zone) AS hour,
    CAST(event.status AS varchar(8)) AS status,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL;

CREATE VIEW billing_liveusageday WITH (security_invoker = true) AS
SELECT
    organization_id,
    day,
    credential_id,
    capability,
    service,
    model,
    status,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd
FROM billing_usageday
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST((event.occurred_at AT TIME ZONE 'UTC')::date AS date) AS day,
    CAST(coalesce(event.credential_id, 0) AS bigint) AS credential_id,
    CAST(event.capability AS varchar(255)) AS capability,
    CAST(event.service AS varchar(255)) AS service,
    CAST(event.model AS varchar(255)) AS model,
    CAST(event.status AS varchar(8)) AS status,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL;

CREATE VIEW billing_livemodelday WITH (security_invoker = true) AS
SELECT
    organization_id,
    day,
    service,
    model,
    agent_id,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd,
    agent_name
FROM billing_modelday
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST((event.occurred_at AT TIME ZONE 'UTC')::date AS date) AS day,
    CAST(event.service AS varchar(255)) AS service,
    CAST(event.model AS varchar(255)) AS model,
    CAST(event.agent_id AS varchar(255)) AS agent_id,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(event.agent_name AS varchar(255)) AS agent_name
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL;
