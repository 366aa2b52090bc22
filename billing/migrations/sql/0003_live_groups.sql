-- Live views of the rollups of generation groups.
--
-- A live view has the rows of its rollup and a row for each event that is not folded yet, so it may have several rows
-- for one key: always sum them. Costs are in USD; days and hours are UTC. Both halves have exactly the table's types, so
-- that PostgreSQL applies a query's conditions to each of them.

CREATE VIEW billing_livegroupday WITH (security_invoker = true) AS
SELECT
    organization_id,
    group_id,
    day,
    service,
    model,
    agent_id,
    user_ref,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd,
    group_name,
    agent_name,
    session_id,
    first_at,
    last_at
FROM billing_groupday
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(event.group_id AS varchar(255)) AS group_id,
    CAST((event.occurred_at AT TIME ZONE 'UTC')::date AS date) AS day,
    CAST(event.service AS varchar(255)) AS service,
    CAST(event.model AS varchar(255)) AS model,
    CAST(event.agent_id AS varchar(255)) AS agent_id,
    CAST(event.user_ref AS varchar(255)) AS user_ref,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(event.group_name AS varchar(255)) AS group_name,
    CAST(event.agent_name AS varchar(255)) AS agent_name,
    CAST(event.session_id AS varchar(255)) AS session_id,
    CAST(event.occurred_at AS timestamp with time zone) AS first_at,
    CAST(event.occurred_at AS timestamp with time zone) AS last_at
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL
    AND event.group_id <> '';

CREATE VIEW billing_livegenerationgroup WITH (security_invoker = true) AS
SELECT
    organization_id,
    group_id,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd,
    group_name,
    session_id,
    first_at,
    last_at
FROM billing_generationgroup
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(event.group_id AS varchar(255)) AS group_id,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(event.group_name AS varchar(255)) AS group_name,
    CAST(event.session_id AS varchar(255)) AS session_id,
    CAST(event.occurred_at AS timestamp with time zone) AS first_at,
    CAST(event.occurred_at AS timestamp with time zone) AS last_at
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL
    AND event.group_id <> '';
