-- What was spent at each instant from p_starts until p_ends (exclusive), for each requested scope and value, in USD:
-- the events of a part of an hour, of which rollups have only the sum.
--
-- p_first_ids are lower bounds of the ids of these events, so that older partitions of the ledger are not read.
-- p_fallback_prices are USD per million tokens of events without a price; NULL: these events count nothing.
-- `ordinal` is the position in the arrays, from 1.

CREATE FUNCTION billing_spend_by_instant(
    p_organization_id bigint,
    p_scopes text[],
    p_values text[],
    p_starts timestamptz[],
    p_ends timestamptz[],
    p_fallback_prices numeric[],
    p_first_ids uuid[]
) RETURNS TABLE (
    ordinal bigint,
    instant timestamptz,
    usd numeric
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
    SELECT
        requested.ordinal,
        spend.instant,
        sum(spend.usd)
    FROM unnest(p_scopes, p_values, p_starts, p_ends, p_fallback_prices, p_first_ids)
        WITH ORDINALITY AS requested (scope, value, start, "end", fallback_price, first_id, ordinal)
    CROSS JOIN LATERAL (
        SELECT
            event.occurred_at AS instant,
            coalesce(event.token_cost_usd, 0) + event.compute_cost_usd AS usd
        FROM billing_usageevent AS event
        WHERE event.organization_id = p_organization_id
            AND event.id >= requested.first_id
            AND event.occurred_at >= requested.start
            AND event.occurred_at < requested."end"
            AND billing_is_in_scope(
                requested.scope,
                requested.value,
                event.credential_id,
                event.user_ref,
                event.model,
                event.workflow_id,
                event.run_id,
                event.session_id,
                event.tags
            )
        UNION ALL
        SELECT
            event.occurred_at,
            (
                event.input_tokens
                + event.output_tokens
                + event.cache_read_tokens
                + event.cache_creation_tokens
            ) * requested.fallback_price / 1000000
        FROM billing_unpricedevent AS unpriced_event
        JOIN billing_usageevent AS event
            ON event.organization_id = p_organization_id
            AND event.id = unpriced_event.event_id
        WHERE unpriced_event.organization_id = p_organization_id
            AND requested.fallback_price > 0
            AND event.occurred_at >= requested.start
            AND event.occurred_at < requested."end"
            AND billing_is_in_scope(
                requested.scope,
                requested.value,
                event.credential_id,
                event.user_ref,
                event.model,
                event.workflow_id,
                event.run_id,
                event.session_id,
                event.tags
            )
    ) AS spend
    GROUP BY requested.ordinal, spend.instant;
END $$;
