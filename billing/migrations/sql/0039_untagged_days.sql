-- The rollup of tags, again: usage without tags has rows with an empty tag, so that all usage of a day is known, and
-- `errors` are failed requests.
--
-- A live view has the rows of its rollup and a row for each event that is not folded yet, so it may have several rows
-- for one key: always sum them. Costs are in USD; days are UTC. Both halves have exactly the table's types, so that
-- PostgreSQL applies a query's conditions to each of them.

CREATE OR REPLACE VIEW billing_livetagday WITH (security_invoker = true) AS
SELECT
    organization_id,
    day,
    tag,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd,
    errors
FROM billing_tagday
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST((event.occurred_at AT TIME ZONE 'UTC')::date AS date) AS day,
    CAST(label.tag AS varchar(255)) AS tag,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(CASE WHEN event.status = 'failure' THEN event.requests ELSE 0 END AS bigint) AS errors
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
CROSS JOIN LATERAL unnest(coalesce(nullif(event.tags, '{}'), ARRAY[''::varchar])) AS label (tag)
WHERE batch.folded_at IS NULL;

-- The rows of folded events, from the ledger. (Of dropped events, it is not known how many had no tags.)
LOCK TABLE billing_tagday IN SHARE ROW EXCLUSIVE MODE;

DO $$
DECLARE
    organization record;
BEGIN
    FOR organization IN
        SELECT id FROM organizations_organization
    LOOP
        DELETE FROM billing_tagday
        WHERE organization_id = organization.id
            AND NOT archived;

        INSERT INTO billing_tagday (
            organization_id,
            day,
            tag,
            archived,
            requests,
            unpriced,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_creation_tokens,
            token_cost_usd,
            compute_cost_usd,
            errors
        )
        SELECT
            event.organization_id,
            (event.occurred_at AT TIME ZONE 'UTC')::date,
            label.tag,
            false,
            sum(event.requests),
            sum(event.unpriced),
            sum(event.input_tokens),
            sum(event.output_tokens),
            sum(event.cache_read_tokens),
            sum(event.cache_creation_tokens),
            sum(coalesce(event.token_cost_usd, 0)),
            sum(event.compute_cost_usd),
            sum(CASE WHEN event.status = 'failure' THEN event.requests ELSE 0 END)
        FROM billing_usageevent AS event
        CROSS JOIN LATERAL unnest(coalesce(nullif(event.tags, '{}'), ARRAY[''::varchar])) AS label (tag)
        WHERE event.organization_id = organization.id
            AND substring(uuid_send(event.id), 1, 14) NOT IN (
                SELECT substring(uuid_send(batch.id), 1, 14)
                FROM billing_ingestbatch AS batch
                WHERE batch.organization_id = organization.id
                    AND batch.folded_at IS NULL
            )
        GROUP BY 1, 2, 3;
    END LOOP;
END $$;
