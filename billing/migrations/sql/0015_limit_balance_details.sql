-- The balances of limits in detail, in their units, as rows:
--
--   kind 'spent'     spent between starts_at and ends_at: an unfolded event, the events at one instant of the hour in
--                    which the window begins, or one full hour. `unpriced` of these events have no price.
--   kind 'reserved'  reserved until ends_at, by one open authorization at p_now.
--
-- A limit is given by the scope and value of its rollup rows, and if these are its own (p_scopes has `#` and its id), by
-- its conditions, each an array as text (billing_is_in_limit). p_units is the unit of its amounts: usd, tokens or requests.
-- A window without a start (NULL in p_starts) has the hours since p_recent, and one row from -infinity with all before.
-- p_first_ids are lower bounds of the ids of its events, so that older partitions of the ledger are not read.
-- p_fallback_prices are USD per million tokens of events without a price; NULL: these events count nothing.
-- `ordinal` is the position in the arrays, from 1.
--
-- Most windows begin at the same instant; the events of that hour are read once for all of them.

DROP FUNCTION billing_balance_details(
    bigint, text[], text[], timestamptz[], numeric[], timestamptz, timestamptz, uuid[]
);

CREATE FUNCTION billing_balance_details(
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
        ),
        unfolded AS MATERIALIZED (
            SELECT event.*
            FROM billing_ingestbatch AS batch
            CROSS JOIN LATERAL (
                SELECT
                    coalesce(ledger.token_cost_usd, 0) + ledger.compute_cost_usd AS usd,
                    ledger.input_tokens
                    + ledger.output_tokens
                    + ledger.cache_read_tokens
                    + ledger.cache_creation_tokens AS tokens,
                    ledger.requests,
                    ledger.unpriced,
                    ledger.occurred_at,
                    ledger.credential_id,
                    ledger.environment,
                    ledger.user_ref,
                    ledger.end_user,
                    ledger.team,
                    ledger.provider,
                    ledger.agent_id,
                    ledger.capability,
                    ledger.model,
                    coalesce(nullif(ledger.sent_model, ''), ledger.model) AS sent_model,
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
            billing_in_unit(requested.unit, event.usd, event.tokens, event.requests),
            event.unpriced::bigint
        FROM requested
        JOIN unfolded AS event
            ON billing_is_in_limit(
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
                event.sent_model,
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
            CROSS JOIN LATERAL (
                SELECT
                    coalesce(ledger.token_cost_usd, 0) + ledger.compute_cost_usd AS usd,
                    ledger.input_tokens
                    + ledger.output_tokens
                    + ledger.cache_read_tokens
                    + ledger.cache_creation_tokens AS tokens,
                    ledger.requests,
                    ledger.unpriced,
                    ledger.occurred_at,
                    ledger.credential_id,
                    ledger.environment,
                    ledger.user_ref,
                    ledger.end_user,
                    ledger.team,
                    ledger.provider,
                    ledger.agent_id,
                    ledger.capability,
                    ledger.model,
                    coalesce(nullif(ledger.sent_model, ''), ledger.model) AS sent_model,
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
            sum(billing_in_unit(requested.unit, event.usd, event.tokens, event.requests)),
            sum(event.unpriced)::bigint
        FROM requested
        JOIN edge AS event
            ON event.start = requested.start
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
                event.sent_model,
                event.workflow_id,
                event.run_id,
                event.session_id,
                event.tags
            )
        GROUP BY requested.ordinal, event.occurred_at;
    END IF;

    IF EXISTS (SELECT FROM unnest(p_fallback_prices) AS fallback (price) WHERE fallback.price > 0) THEN
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
        FROM requested
        CROSS JOIN billing_unpricedevent AS unpriced_event
        JOIN billing_usageevent AS event
            ON event.organization_id = p_organization_id
            AND event.id = unpriced_event.event_id
        WHERE unpriced_event.organization_id = p_organization_id
            AND requested.fallback_price > 0
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
        'reserved',
        reservation.expires_at,
        reservation.expires_at,
        billing_in_unit(requested.unit, reservation.amount_usd, reservation.tokens, 1),
        0::bigint
    FROM requested
    JOIN billing_authorization AS reservation
        ON reservation.organization_id = p_organization_id
        AND reservation.status = 'reserved'
        AND reservation.expires_at > p_now
        AND billing_is_in_limit(
            requested.scope,
            requested.value,
            requested.conditions,
            reservation.credential_id,
            reservation.environment,
            reservation.user_ref,
            reservation.end_user,
            reservation.team,
            reservation.provider,
            reservation.agent_id,
            reservation.capability,
            reservation.model,
            coalesce(nullif(reservation.sent_model, ''), reservation.model),
            reservation.workflow_id,
            reservation.run_id,
            reservation.session_id,
            reservation.tags
        );
END $$;
