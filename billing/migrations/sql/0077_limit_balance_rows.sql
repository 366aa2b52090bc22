-- The balances of limits in detail, in their units, as rows:
--
--   kind 'spent'     spent between starts_at and ends_at: an unfolded event, the events at one instant of the hour in
--                    which the window begins, or one full hour. `unpriced` of these events have no price.
--   kind 'reserved'  reserved until ends_at, by one open authorization at p_now.
--   kind 'covered'   one row with ordinal 0 and without amounts: unfolded events up to p_covered_until are left out.
--
-- The limits are given as arrays (billing_requested_limits). p_units is the unit of their amounts: usd, tokens or requests.
-- A window without a start (NULL in p_starts) has the hours since p_recent, and one row from -infinity with all before.
-- p_first_ids are lower bounds of the ids of its events, so that older partitions of the ledger are not read.
-- p_fallback_prices are USD per million tokens of events without a price; NULL: these events count nothing.
-- `ordinal` is the position in the arrays, from 1.
--
-- p_covered_until and p_covered_state are those of billing_unfolded_spend. If these batches are still the unfolded ones, the
-- caller adds what they spent; otherwise there is no row 'covered', and every event is returned.
--
-- Most windows begin at the same instant; the events of that hour are read once for all of them.

CREATE FUNCTION billing_balance_rows(
    p_organization_id bigint,
    p_scopes text[],
    p_values text[],
    p_conditions text[],
    p_units text[],
    p_starts timestamptz[],
    p_fallback_prices numeric[],
    p_now timestamptz,
    p_recent timestamptz,
    p_first_ids uuid[],
    p_covered_until uuid,
    p_covered_state text
) RETURNS TABLE (
    ordinal bigint,
    kind text,
    starts_at timestamptz,
    ends_at timestamptz,
    usd numeric,
    unpriced bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    first_batch_id uuid;
    is_covered boolean;
BEGIN
    is_covered := p_covered_until IS NOT NULL
        AND p_covered_state = billing_covered_state(p_organization_id, p_covered_until);

    IF is_covered THEN
        RETURN QUERY
        SELECT 0::bigint, 'covered', NULL::timestamptz, NULL::timestamptz, NULL::numeric, NULL::bigint;
    END IF;

    SELECT batch.id
    INTO first_batch_id
    FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = p_organization_id
        AND batch.folded_at IS NULL
        AND NOT (is_covered AND batch.id <= p_covered_until)
    ORDER BY batch.id
    LIMIT 1;

    IF first_batch_id IS NOT NULL THEN
        RETURN QUERY
        WITH requested AS MATERIALIZED (
            SELECT *
            FROM billing_requested_limits(p_scopes, p_values, p_conditions, p_units, p_starts, p_fallback_prices)
        ),
        unfolded AS MATERIALIZED (
            SELECT *
            FROM billing_unfolded_usage(p_organization_id, first_batch_id)
        )
        SELECT
            requested.ordinal,
            'spent',
            event.occurred_at,
            event.occurred_at,
            billing_in_unit(requested.unit, event.usd, event.tokens, event.requests),
            event.unpriced
        FROM requested
        JOIN unfolded AS event
            ON billing_meets_conditions(requested.conditions, event.dimensions, event.tags)
            AND (requested.start IS NULL OR event.occurred_at >= billing_first_full_hour(requested.start));
    END IF;

    IF EXISTS (
        SELECT
        FROM unnest(p_starts) AS requested (start)
        WHERE billing_first_full_hour(requested.start) > requested.start
    ) THEN
        RETURN QUERY
        WITH requested AS MATERIALIZED (
            SELECT *
            FROM billing_requested_limits(p_scopes, p_values, p_conditions, p_units, p_starts, p_fallback_prices)
        ),
        edge AS MATERIALIZED (
            SELECT window_start.start, event.*
            FROM (
                SELECT DISTINCT
                    listed.start,
                    p_first_ids[listed.ordinal] AS first_id,
                    billing_first_full_hour(listed.start) AS first_full_hour
                FROM unnest(p_starts) WITH ORDINALITY AS listed (start, ordinal)
                WHERE billing_first_full_hour(listed.start) > listed.start
            ) AS window_start
            CROSS JOIN LATERAL billing_usage_between(
                p_organization_id, window_start.first_id, window_start.start, window_start.first_full_hour
            ) AS event
        )
        SELECT
            requested.ordinal,
            'spent',
            event.occurred_at,
            event.occurred_at,
            sum(billing_in_unit(requested.unit, event.usd, event.tokens, event.requests)),
            sum(event.unpriced)::bigint
        FROM requested
        JOIN edge AS event
            ON event.start = requested.start
            AND billing_meets_conditions(requested.conditions, event.dimensions, event.tags)
        GROUP BY requested.ordinal, event.occurred_at;
    END IF;

    IF EXISTS (SELECT FROM unnest(p_fallback_prices) AS fallback (price) WHERE fallback.price > 0) THEN
        RETURN QUERY
        WITH requested AS MATERIALIZED (
        SELECT *
        FROM billing_requested_limits(p_scopes, p_values, p_conditions, p_units, p_starts, p_fallback_prices)
    )
        SELECT
            requested.ordinal,
            'spent',
            event.occurred_at,
            event.occurred_at,
            event.tokens * requested.fallback_price / 1000000,
            0::bigint
        FROM requested
        CROSS JOIN billing_unpriced_usage(p_organization_id) AS event
        WHERE requested.fallback_price > 0
            AND billing_meets_conditions(requested.conditions, event.dimensions, event.tags)
            AND (requested.start IS NULL OR event.occurred_at >= requested.start);
    END IF;

    IF EXISTS (SELECT FROM unnest(p_starts) AS requested (start) WHERE requested.start IS NULL) THEN
        RETURN QUERY
        SELECT
            requested.ordinal,
            'spent',
            '-infinity'::timestamptz,
            '-infinity'::timestamptz,
            sum(total.cost_usd) - coalesce(
                (
                    SELECT sum(hourly.cost_usd)
                    FROM billing_scopehour AS hourly
                    WHERE hourly.organization_id = p_organization_id
                        AND hourly.scope = requested.scope
                        AND hourly.value = requested.value
                        AND hourly.hour >= p_recent
                ),
                0
            ),
            sum(total.unpriced)::bigint
        FROM unnest(p_scopes, p_values, p_starts)
            WITH ORDINALITY AS requested (scope, value, start, ordinal)
        JOIN billing_scopetotal AS total
            ON total.organization_id = p_organization_id
            AND total.scope = requested.scope
            AND total.value = requested.value
        WHERE requested.start IS NULL
        GROUP BY requested.ordinal, requested.scope, requested.value;
    END IF;

    RETURN QUERY
    SELECT
        requested.ordinal,
        'spent',
        hourly.hour,
        hourly.hour + interval '1 hour',
        sum(hourly.cost_usd),
        CASE WHEN requested.start IS NULL THEN 0 ELSE sum(hourly.unpriced) END::bigint
    FROM unnest(p_scopes, p_values, p_starts)
        WITH ORDINALITY AS requested (scope, value, start, ordinal)
    JOIN billing_scopehour AS hourly
        ON hourly.organization_id = p_organization_id
        AND hourly.scope = requested.scope
        AND hourly.value = requested.value
        AND hourly.hour >= coalesce(billing_first_full_hour(requested.start), p_recent)
    GROUP BY requested.ordinal, requested.start, hourly.hour;

    RETURN QUERY
    WITH requested AS MATERIALIZED (
        SELECT *
        FROM billing_requested_limits(p_scopes, p_values, p_conditions, p_units, p_starts, p_fallback_prices)
    )
    SELECT
        requested.ordinal,
        'reserved',
        reservation.expires_at,
        reservation.expires_at,
        billing_in_unit(requested.unit, reservation.usd, reservation.tokens, 1),
        0::bigint
    FROM requested
    JOIN billing_reservations(p_organization_id, p_now) AS reservation
        ON billing_meets_conditions(requested.conditions, reservation.dimensions, reservation.tags);
END $$;

-- For processes of the previous release.
CREATE OR REPLACE FUNCTION billing_balance_details(
    p_organization_id bigint,
    p_scopes text[],
    p_values text[],
    p_conditions text[],
    p_units text[],
    p_starts timestamptz[],
    p_fallback_prices numeric[],
    p_now timestamptz,
    p_recent timestamptz,
    p_first_ids uuid[]
) RETURNS TABLE (
    ordinal bigint,
    kind text,
    starts_at timestamptz,
    ends_at timestamptz,
    usd numeric,
    unpriced bigint
)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT *
    FROM billing_balance_rows(
        p_organization_id,
        p_scopes,
        p_values,
        p_conditions,
        p_units,
        p_starts,
        p_fallback_prices,
        p_now,
        p_recent,
        p_first_ids,
        NULL,
        NULL
    );
END $$;
