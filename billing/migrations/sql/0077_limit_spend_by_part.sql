-- What was spent at each instant from p_starts until p_ends (exclusive) under each limit, in its unit: the events of a
-- part of an hour, of which rollups have only the sum.
--
-- The limits are given as arrays (billing_requested_limits). p_units is the unit of their amounts: usd, tokens or requests.
-- p_first_ids are lower bounds of the ids of these events, so that older partitions of the ledger are not read.
-- p_fallback_prices are USD per million tokens of events without a price; NULL: these events count nothing.
-- `ordinal` is the position in the arrays, from 1.
--
-- `events` is the number of the organization's events that were read, under the limit or not; where none is under it, the
-- other columns are NULL.
--
-- An hour can have hundreds of thousands of instants. With p_parts there are about so many rows for each limit: each has
-- the sum of an equal part of the time, from the instant of its first event until that of its last one.

CREATE FUNCTION billing_spend_by_part(
    p_organization_id bigint,
    p_scopes text[],
    p_values text[],
    p_conditions text[],
    p_units text[],
    p_starts timestamptz[],
    p_fallback_prices numeric[],
    p_ends timestamptz[],
    p_first_ids uuid[],
    p_parts integer
) RETURNS TABLE (
    ordinal bigint,
    instant timestamptz,
    usd numeric,
    last_instant timestamptz,
    events bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
    WITH requested AS MATERIALIZED (
        SELECT *
        FROM billing_requested_limits(p_scopes, p_values, p_conditions, p_units, p_starts, p_fallback_prices)
    )
    SELECT
        requested.ordinal,
        min(spend.instant) FILTER (WHERE spend.is_counted),
        sum(spend.amount) FILTER (WHERE spend.is_counted),
        max(spend.instant) FILTER (WHERE spend.is_counted),
        count(*)
    FROM requested
    CROSS JOIN LATERAL (
        SELECT
            event.occurred_at AS instant,
            billing_in_unit(requested.unit, event.usd, event.tokens, event.requests) AS amount,
            billing_meets_conditions(requested.conditions, event.dimensions, event.tags) AS is_counted
        FROM billing_usage_between(
            p_organization_id, p_first_ids[requested.ordinal], requested.start, p_ends[requested.ordinal]
        ) AS event
        UNION ALL
        SELECT
            event.occurred_at,
            event.tokens * requested.fallback_price / 1000000,
            true
        FROM billing_unpriced_usage(p_organization_id) AS event
        WHERE requested.fallback_price > 0
            AND event.occurred_at >= requested.start
            AND event.occurred_at < p_ends[requested.ordinal]
            AND billing_meets_conditions(requested.conditions, event.dimensions, event.tags)
    ) AS spend
    GROUP BY
        requested.ordinal,
        CASE
            WHEN p_parts IS NULL THEN spend.instant
            ELSE date_bin(
                ceil(extract(epoch FROM p_ends[requested.ordinal] - requested.start) * 1000000 / p_parts)::float8
                    * interval '1 microsecond',
                spend.instant,
                requested.start
            )
        END;
END $$;

-- For processes of the previous release.
CREATE OR REPLACE FUNCTION billing_spend_by_instant(
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
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT spend.ordinal, spend.instant, spend.usd
    FROM billing_spend_by_part(
        p_organization_id,
        p_scopes,
        p_values,
        p_conditions,
        p_units,
        p_starts,
        p_fallback_prices,
        p_ends,
        p_first_ids,
        NULL
    ) AS spend
    WHERE spend.instant IS NOT NULL;
END $$;
