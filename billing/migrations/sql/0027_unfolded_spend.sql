-- Events that are not folded yet. p_first_batch_id is the first batch to read: older partitions of the ledger are
-- not read.
CREATE OR REPLACE FUNCTION billing_unfolded_usage(p_organization_id bigint, p_first_batch_id uuid) RETURNS TABLE (
    occurred_at timestamptz,
    usd numeric,
    tokens bigint,
    requests bigint,
    unpriced bigint,
    dimensions text[],
    tags text[]
)
LANGUAGE sql STABLE AS $$
    SELECT event.*
    FROM billing_ingestbatch AS batch
    CROSS JOIN LATERAL (
        SELECT
            ledger.occurred_at,
            coalesce(ledger.token_cost_usd, 0) + ledger.compute_cost_usd AS usd,
            ledger.input_tokens + ledger.output_tokens + ledger.cache_read_tokens + ledger.cache_creation_tokens AS tokens,
            ledger.requests::bigint AS requests,
            ledger.unpriced::bigint AS unpriced,
            billing_dimensions(
                ledger.credential_id,
                ledger.environment,
                ledger.user_ref,
                ledger.end_user,
                ledger.team,
                ledger.provider,
                ledger.agent_id,
                ledger.capability,
                ledger.model,
                ledger.sent_model,
                ledger.workflow_id,
                ledger.run_id,
                ledger.session_id
            ) AS dimensions,
            ledger.tags::text[] AS tags
        FROM billing_usageevent AS ledger
        WHERE ledger.organization_id = p_organization_id
            AND ledger.id > p_first_batch_id
            AND ledger.id > batch.id
            AND ledger.id <= batch.last_event_id
        OFFSET 0 -- reads each batch by the primary key
    ) AS event
    WHERE batch.organization_id = p_organization_id
        AND batch.folded_at IS NULL
        AND batch.id >= p_first_batch_id
$$;

-- The number of the unfolded batches up to an id, and a hash of their ids. Batches never change, so equal states have
-- equal events.
CREATE FUNCTION billing_covered_state(p_organization_id bigint, p_until uuid) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT concat_ws('/', count(*), bit_xor(uuid_hash_extended(batch.id, 0)))
        FROM billing_ingestbatch AS batch
        WHERE batch.organization_id = p_organization_id
            AND batch.folded_at IS NULL
            AND batch.id <= p_until
    );
END $$;

-- What unfolded events spent under limits, in their units, since p_starts (NULL: ever), in the order of the arrays (NULL:
-- nothing). The limits are given as in billing_balances.
--
-- Adding up thousands of events takes longer than an authorization. So a process caches the spend of the batches up to
-- p_covered_until, and gives its amounts (billing/limits/covered_spend.py). They count if these batches are the ones of
-- p_covered_state; otherwise `is_covered` is false, and every event is added up. `events` is the number of events that
-- were added up.
CREATE FUNCTION billing_unfolded_spend(
    p_organization_id bigint,
    p_scopes text[],
    p_values text[],
    p_conditions text[],
    p_units text[],
    p_starts timestamptz[],
    p_fallback_prices numeric[],
    p_covered_until uuid,
    p_covered_state text,
    p_covered numeric[],
    OUT amounts numeric[],
    OUT is_covered boolean,
    OUT events bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    first_batch_id uuid;
BEGIN
    is_covered := p_covered_until IS NOT NULL
        AND p_covered_state = billing_covered_state(p_organization_id, p_covered_until);

    SELECT (array_agg(batch.id ORDER BY batch.id))[1], coalesce(sum(batch.accepted), 0)
    INTO first_batch_id, events
    FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = p_organization_id
        AND batch.folded_at IS NULL
        AND NOT (is_covered AND batch.id <= p_covered_until);

    IF first_batch_id IS NOT NULL THEN
        WITH requested AS MATERIALIZED (
            SELECT *
            FROM billing_requested_limits(p_scopes, p_values, p_conditions, p_units, p_starts, p_fallback_prices)
        ),
        unfolded AS MATERIALIZED (
            SELECT *
            FROM billing_unfolded_usage(p_organization_id, first_batch_id)
        )
        SELECT array_agg(coalesce(total.amount, 0) ORDER BY requested.ordinal)
        INTO amounts
        FROM requested
        CROSS JOIN LATERAL (
            SELECT sum(billing_in_unit(requested.unit, event.usd, event.tokens, event.requests)) AS amount
            FROM unfolded AS event
            WHERE (requested.start IS NULL OR event.occurred_at >= requested.start)
                AND billing_meets_conditions(requested.conditions, event.dimensions, event.tags)
        ) AS total;
    END IF;

    IF is_covered THEN
        amounts := ARRAY(
            SELECT coalesce(pair.covered, 0) + coalesce(pair.added, 0)
            FROM unnest(p_covered, amounts) WITH ORDINALITY AS pair (covered, added, ordinal)
            ORDER BY pair.ordinal
        );
    END IF;
END $$;
