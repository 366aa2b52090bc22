-- The rollup of runs also has when the first and the last event of a day occurred.
--
-- A live view has the rows of its rollup and a row for each event that is not folded yet, so it may have several rows
-- for one key: always aggregate them. Costs are in USD; days are UTC. Both halves have exactly the table's types, so that
-- PostgreSQL applies a query's conditions to each of them.

CREATE OR REPLACE VIEW billing_liverunday WITH (security_invoker = true) AS
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
    compute_cost_usd,
    first_at,
    last_at
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
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(event.occurred_at AS timestamptz) AS first_at,
    CAST(event.occurred_at AS timestamptz) AS last_at
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL
    AND event.run_id <> '';

-- The times of folded events, from the ledger. (Archived rows of dropped events have none.)
LOCK TABLE billing_runday IN SHARE ROW EXCLUSIVE MODE;

DO $$
DECLARE
    organization record;
BEGIN
    FOR organization IN
        SELECT id FROM organizations_organization
    LOOP
        UPDATE billing_runday AS run_day
        SET first_at = folded.first_at,
            last_at = folded.last_at
        FROM (
            SELECT
                event.run_id,
                (event.occurred_at AT TIME ZONE 'UTC')::date AS day,
                event.service,
                coalesce(nullif(event.cost_group, ''), event.model) AS cost_group,
                min(event.occurred_at) AS first_at,
                max(event.occurred_at) AS last_at
            FROM billing_usageevent AS event
            WHERE event.organization_id = organization.id
                AND event.run_id <> ''
                AND substring(uuid_send(event.id), 1, 14) NOT IN (
                    SELECT substring(uuid_send(batch.id), 1, 14)
                    FROM billing_ingestbatch AS batch
                    WHERE batch.organization_id = organization.id
                        AND batch.folded_at IS NULL
                )
            GROUP BY 1, 2, 3, 4
        ) AS folded
        WHERE run_day.organization_id = organization.id
            AND NOT run_day.archived
            AND run_day.run_id = folded.run_id
            AND run_day.day = folded.day
            AND run_day.service = folded.service
            AND run_day.cost_group = folded.cost_group;
    END LOOP;
END $$;
