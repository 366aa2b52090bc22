-- What was spent at each instant from p_starts until p_ends (exclusive) under each limit, in its unit: the events of a
-- part of an hour, of which rollups have only the sum.
--
-- A limit is given by the scope and value of its rollup rows, and if these are its own (p_scopes has `#` and its id), by
-- its conditions, each an array as text (billing_is_in_limit). p_units is the unit of its amounts: usd, tokens or requests.
-- p_first_ids are lower bounds of the ids of these events, so that older partitions of the ledger are not read.
-- p_fallback_prices are USD per million tokens of events without a price; NULL: these events count nothing.
-- `ordinal` is the position in the arrays, from 1.

DROP FUNCTION billing_spend_by_instant(bigint, text[], text[], timestamptz[], timestamptz[], numeric[], uuid[]);

CREATE FUNCTION billing_spend_by_instant(
    p_organization_id bigint,
    p_scopes text[],
    p_values text[],
    p_conditions text[],
    p_units text[],
    p_starts timestamptz[],
    p_fallback_prices numeric[],
    p_ends timestamptz[],
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
    WITH requested AS MATERIALIZED (
            SELECT
                listed.ordinal,
                listed.scope,
                listed.value,
                listed.conditions::text[] AS conditions,
                listed.unit,
                listed.start,
                listed.fallback_price
            FROM unnest(p_scopes, p_values, p_conditions, p_units, p_starts, p_fallback_prices)
                WITH ORDINALITY AS listed (scope, value, conditions, unit, start, fallback_price, ordinal)
        )
    SELECT
        requested.ordinal,
        spend.instant,
        sum(spend.amount)
    FROM requested
    CROSS JOIN LATERAL (
        SELECT
            event.occurred_at AS instant,
            billing_in_unit(
                requested.unit,
                coalesce(event.token_cost_usd, 0) + event.compute_cost_usd,
                event.input_tokens
                + event.output_tokens
                + event.cache_read_tokens
                + event.cache_creation_tokens,
                event.requests
            ) AS amount
        FROM billing_usageevent AS event
        WHERE event.organization_id = p_organization_id
            AND event.id >= p_first_ids[requested.ordinal]
            AND event.occurred_at >= requested.start
            AND event.occurred_at < p_ends[requested.ordinal]
            AND billing_is_in_limit(
                requested.scope,
                requested.value,
                requested.conditions,
                event.credential_id,
                event.environment,
                event.user_ref,
                event.end_user,
                event.team,
                event.provider,
                event.agent_id,
                event.capability,
                event.model,
                coalesce(nullif(event.sent_model, ''), event.model),
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
            AND event.occurred_at < p_ends[requested.ordinal]
            AND billing_is_in_limit(
                requested.scope,
                requested.value,
                requested.conditions,
                event.credential_id,
                event.environment,
                event.user_ref,
                event.end_user,
                event.team,
                event.provider,
                event.agent_id,
                event.capability,
                event.model,
                coalesce(nullif(event.sent_model, ''), event.model),
                event.workflow_id,
                event.run_id,
                event.session_id,
                event.tags
            )
    ) AS spend
    GROUP BY requested.ordinal, spend.instant;
END $$;
