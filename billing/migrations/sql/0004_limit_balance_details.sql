-- The balances of limits in detail, for each requested scope and value, as rows:
--
--   kind 'spent'     usd was spent between starts_at and ends_at: an unfolded event, the events at one instant of the
--                    hour in which the window begins, or one full hour. `unpriced` of these events have no price.
--   kind 'reserved'  usd is reserved until ends_at, by one open authorization at p_now.
--
-- A window without a start (NULL in p_starts) has the hours since p_recent, and one row from -infinity with all before.
-- p_first_ids are lower bounds of the ids of its events, so that older partitions of the ledger are not read.
-- p_fallback_prices are USD per million tokens of events without a price; NULL: these events count nothing.
-- `ordinal` is the position in the arrays, from 1.
--
-- Most windows begin at the same instant; the events of that hour are read once for all of them.

CREATE FUNCTION billing_balance_details(
    p_organization_id bigint,
    p_scopes text[],
    p_values text[],
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
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    first_batch_id uuid;
BEGIN
    SELECT batch.id
    INTO first_batch_id
    FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = p_organization_id
        AND batch.folded_at IS NULL
    ORDER BY batch.id
    LIMIT 1;

    IF first_batch_id IS NOT NULL THEN
        RETURN QUERY
        WITH unfolded AS MATERIALIZED (
            SELECT event.*
            FROM billing_ingestbatch AS batch
            CROSS JOIN LATERAL (
                SELECT
                    ledger.token_cost_usd,
                    ledger.compute_cost_usd,
                    ledger.unpriced,
                    ledger.occurred_at,
                    ledger.credential_id,
                    ledger.user_ref,
                    ledger.model,
                    ledger.workflow_id,
                    ledger.run_id,
                    ledger.session_id,
                    ledger.tags
                FROM billing_usageevent AS ledger
                WHERE ledger.organization_id = p_organization_id
                    AND ledger.id > first_batch_id
                    AND ledger.id > batch.id
                    AND ledger.id <= batch.last_event_id
                OFFSET 0 -- reads each batch by the primary key
            ) AS event
            WHERE batch.organization_id = p_organization_id
                AND batch.folded_at IS NULL
        )
        SELECT
            requested.ordinal,
            'spent',
            event.occurred_at,
            event.occurred_at,
            coalesce(event.token_cost_usd, 0) + event.compute_cost_usd,
            event.unpriced::bigint
        FROM unnest(p_scopes, p_values, p_starts, p_fallback_prices)
            WITH ORDINALITY AS requested (scope, value, start, fallback_price, ordinal)
        JOIN unfolded AS event
            ON billing_is_in_scope(
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
            AND (requested.start IS NULL OR event.occurred_at >= billing_first_full_hour(requested.start));
    END IF;

    IF EXISTS (
        SELECT
        FROM unnest(p_starts) AS requested (start)
        WHERE billing_first_full_hour(requested.start) > requested.start
    ) THEN
        RETURN QUERY
        WITH edge AS MATERIALIZED (
            SELECT window_start.start, event.*
            FROM (
                SELECT DISTINCT
                    requested.start,
                    p_first_ids[requested.ordinal] AS first_id,
                    billing_first_full_hour(requested.start) AS first_full_hour
                FROM unnest(p_starts) WITH ORDINALITY AS requested (start, ordinal)
                WHERE billing_first_full_hour(requested.start) > requested.start
            ) AS window_start
            CROSS JOIN LATERAL (
                SELECT
                    ledger.token_cost_usd,
                    ledger.compute_cost_usd,
                    ledger.unpriced,
                    ledger.occurred_at,
                    ledger.credential_id,
                    ledger.user_ref,
                    ledger.model,
                    ledger.workflow_id,
                    ledger.run_id,
                    ledger.session_id,
                    ledger.tags
                FROM billing_usageevent AS ledger
                WHERE ledger.organization_id = p_organization_id
                    AND ledger.id >= window_start.first_id
                    AND ledger.occurred_at >= window_start.start
                    AND ledger.occurred_at < window_start.first_full_hour
                OFFSET 0 -- reads each hour by its index
            ) AS event
        )
        SELECT
            requested.ordinal,
            'spent',
            event.occurred_at,
            event.occurred_at,
            sum(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd),
            sum(event.unpriced)::bigint
        FROM unnest(p_scopes, p_values, p_starts, p_fallback_prices)
            WITH ORDINALITY AS requested (scope, value, start, fallback_price, ordinal)
        JOIN edge AS event
            ON event.start = requested.start
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
        GROUP BY requested.ordinal, event.occurred_at;
    END IF;

    IF EXISTS (SELECT FROM unnest(p_fallback_prices) AS fallback (price) WHERE fallback.price > 0) THEN
        RETURN QUERY
        SELECT
            requested.ordinal,
            'spent',
            event.occurred_at,
            event.occurred_at,
            (
                event.input_tokens
                + event.output_tokens
                + event.cache_read_tokens
                + event.cache_creation_tokens
            ) * requested.fallback_price / 1000000,
            0::bigint
        FROM unnest(p_scopes, p_values, p_starts, p_fallback_prices)
            WITH ORDINALITY AS requested (scope, value, start, fallback_price, ordinal)
        CROSS JOIN billing_unpricedevent AS unpriced_event
        JOIN billing_usageevent AS event
            ON event.organization_id = p_organization_id
            AND event.id = unpriced_event.event_id
        WHERE unpriced_event.organization_id = p_organization_id
            AND requested.fallback_price > 0
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
        FROM unnest(p_scopes, p_values, p_starts, p_fallback_prices)
            WITH ORDINALITY AS requested (scope, value, start, fallback_price, ordinal)
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
    FROM unnest(p_scopes, p_values, p_starts, p_fallback_prices)
        WITH ORDINALITY AS requested (scope, value, start, fallback_price, ordinal)
    JOIN billing_scopehour AS hourly
        ON hourly.organization_id = p_organization_id
        AND hourly.scope = requested.scope
        AND hourly.value = requested.value
        AND hourly.hour >= coalesce(billing_first_full_hour(requested.start), p_recent)
    GROUP BY requested.ordinal, requested.start, hourly.hour;

    RETURN QUERY
    SELECT
        requested.ordinal,
        'reserved',
        reservation.expires_at,
        reservation.expires_at,
        reservation.amount_usd,
        0::bigint
    FROM unnest(p_scopes, p_values, p_starts, p_fallback_prices)
        WITH ORDINALITY AS requested (scope, value, start, fallback_price, ordinal)
    JOIN billing_authorization AS reservation
        ON reservation.organization_id = p_organization_id
        AND reservation.status = 'reserved'
        AND reservation.expires_at > p_now
        AND billing_is_in_scope(
            requested.scope,
            requested.value,
            reservation.credential_id,
            reservation.user_ref,
            reservation.model,
            reservation.workflow_id,
            reservation.run_id,
            reservation.session_id,
            reservation.tags
        );
END $$;
