-- Balances of limits, in their units:
--
--   spent_usd     what was spent since p_starts (NULL: ever). Folded events count by full hours, beginning with the first full
--                 hour of the window; events that are not folded yet count exactly.
--   edge_usd      an upper bound of what was spent in the hour in which the window begins, which spent_usd leaves out.
--   reserved_usd  open authorizations at p_now.
--
-- The limits are given as arrays (billing_requested_limits). p_units is the unit of their amounts: usd, tokens or requests.
-- p_fallback_prices are USD per million tokens of events without a price; NULL: these events count nothing.
-- `ordinal` is the position in the arrays, from 1.
--
-- p_covered_until, p_covered_state and p_covered are those of billing_unfolded_spend; p_covered_edges are upper bounds of
-- what the covered events spent in the hour in which the window begins, which p_covered leaves out. `uncovered_events` is
-- the number of unfolded events that were added up.
--
-- One snapshot: an event and the authorization that it settled are never both counted, and never both missing.
--
-- Planning a query of the ledger, with its many partitions, takes longer than executing it. So plans are cached (and must
-- not be those of tables that were still small: no sequential scans), and the ledger is not read if nothing is unfolded
-- and no fallback price was given.

DROP FUNCTION billing_balances(bigint, text[], text[], text[], text[], timestamptz[], numeric[], timestamptz);

CREATE FUNCTION billing_balances(
    p_organization_id bigint,
    p_scopes text[],
    p_values text[],
    p_conditions text[],
    p_units text[],
    p_starts timestamptz[],
    p_fallback_prices numeric[],
    p_now timestamptz,
    p_covered_until uuid DEFAULT NULL,
    p_covered_state text DEFAULT NULL,
    p_covered numeric[] DEFAULT NULL,
    p_covered_edges numeric[] DEFAULT NULL
) RETURNS TABLE (
    ordinal bigint,
    spent_usd numeric,
    edge_usd numeric,
    reserved_usd numeric,
    uncovered_events bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    unfolded record;
    all_unpriced numeric[];
    all_reserved numeric[];
BEGIN
    all_reserved := billing_reserved(p_organization_id, p_scopes, p_values, p_conditions, p_units, p_now);

    SELECT *
    INTO unfolded
    FROM billing_unfolded_spend(
        p_organization_id,
        p_scopes,
        p_values,
        p_conditions,
        p_units,
        p_starts,
        p_fallback_prices,
        p_covered_until,
        p_covered_state,
        p_covered
    );

    IF EXISTS (SELECT FROM unnest(p_fallback_prices) AS fallback (price) WHERE fallback.price > 0) THEN
        WITH requested AS MATERIALIZED (
            SELECT *
            FROM billing_requested_limits(p_scopes, p_values, p_conditions, p_units, p_starts, p_fallback_prices)
        )
        SELECT array_agg(coalesce(total.tokens * requested.fallback_price / 1000000, 0) ORDER BY requested.ordinal)
        INTO all_unpriced
        FROM requested
        CROSS JOIN LATERAL (
            SELECT sum(event.tokens) AS tokens
            FROM billing_unpriced_usage(p_organization_id) AS event
            WHERE requested.fallback_price > 0
                AND (requested.start IS NULL OR event.occurred_at >= requested.start)
                AND billing_meets_conditions(requested.conditions, event.dimensions, event.tags)
        ) AS total;
    END IF;

    RETURN QUERY
    SELECT
        requested.ordinal,
        coalesce(
            CASE
                WHEN requested.start IS NULL THEN (
                    SELECT sum(total.cost_usd)
                    FROM billing_scopetotal AS total
                    WHERE total.organization_id = p_organization_id
                        AND total.scope = requested.scope
                        AND total.value = requested.value
                )
                ELSE (
                    SELECT sum(hourly.cost_usd)
                    FROM billing_scopehour AS hourly
                    WHERE hourly.organization_id = p_organization_id
                        AND hourly.scope = requested.scope
                        AND hourly.value = requested.value
                        AND hourly.hour >= billing_first_full_hour(requested.start)
                )
            END,
            0
        )
            + coalesce(unfolded.amounts[requested.ordinal], 0)
            + coalesce(all_unpriced[requested.ordinal], 0),
        coalesce(
            CASE
                WHEN billing_first_full_hour(requested.start) > requested.start THEN (
                    SELECT sum(hourly.charged_usd)
                    FROM billing_scopehour AS hourly
                    WHERE hourly.organization_id = p_organization_id
                        AND hourly.scope = requested.scope
                        AND hourly.value = requested.value
                        AND hourly.hour = billing_first_full_hour(requested.start) - interval '1 hour'
                )
            END,
            0
        )
            + CASE WHEN unfolded.is_covered THEN coalesce(p_covered_edges[requested.ordinal], 0) ELSE 0 END,
        coalesce(all_reserved[requested.ordinal], 0),
        unfolded.events
    FROM unnest(p_scopes, p_values, p_starts)
        WITH ORDINALITY AS requested (scope, value, start, ordinal)
    ORDER BY requested.ordinal;
END $$;
