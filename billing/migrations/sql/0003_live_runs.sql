-- Live views of the rollups of workflow runs.
--
-- A live view has the rows of its rollup and a row for each event that is not folded yet, so it may have several rows
-- for one key: always sum them. Costs are in USD; days and hours are UTC. Both halves have exactly the table's types, so
-- that PostgreSQL applies a query's conditions to each of them.

CREATE VIEW billing_liverunday WITH (security_invoker = true) AS
SELECT
    organization_id,
    run_id,
    day,
    service,
    cost_group,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd
FROM billing_runday
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(event.run_id AS varchar(255)) AS run_id,
    CAST((event.occurred_at AT TIME ZONE 'UTC')::date AS date) AS day,
    CAST(event.service AS varchar(255)) AS service,
    CAST(coalesce(nullif(event.cost_group, ''), event.model) AS varchar(255)) AS cost_group,
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
WHERE batch.folded_at IS NULL
    AND event.run_id <> '';

CREATE VIEW billing_liverunserviceday WITH (security_invoker = true) AS
SELECT
    organization_id,
    day,
    service,
    cost_group,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd
FROM billing_runserviceday
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST((event.occurred_at AT TIME ZONE 'UTC')::date AS date) AS day,
    CAST(event.service AS varchar(255)) AS service,
    CAST(coalesce(nullif(event.cost_group, ''), event.model) AS varchar(255)) AS cost_group,
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
WHERE batch.folded_at IS NULL
    AND event.run_id <> '';
