-- What limits count: events and open authorizations of an organization, with their dimensions (billing_dimensions).
-- `usd` are US dollars, `tokens` input, cache reads, cache writes and output together. PostgreSQL inlines these functions.

-- Events that are not folded yet. p_first_batch_id is the first batch that is not folded: older partitions of the ledger
-- are not read.
CREATE FUNCTION billing_unfolded_usage(p_organization_id bigint, p_first_batch_id uuid) RETURNS TABLE (
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
$$;

-- Events that occurred from p_start until p_end (exclusive). p_first_id is a lower bound of their ids: older partitions of
-- the ledger are not read.
CREATE FUNCTION billing_usage_between(
    p_organization_id bigint,
    p_first_id uuid,
    p_start timestamptz,
    p_end timestamptz
) RETURNS TABLE (
    occurred_at timestamptz,
    usd numeric,
    tokens bigint,
    requests bigint,
    unpriced bigint,
    dimensions text[],
    tags text[]
)
LANGUAGE sql STABLE AS $$
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
        AND ledger.id >= p_first_id
        AND ledger.occurred_at >= p_start
        AND ledger.occurred_at < p_end
    OFFSET 0 -- reads each hour by its index
$$;

-- Events without a price.
CREATE FUNCTION billing_unpriced_usage(p_organization_id bigint) RETURNS TABLE (
    occurred_at timestamptz,
    tokens bigint,
    dimensions text[],
    tags text[]
)
LANGUAGE sql STABLE AS $$
    SELECT
        event.occurred_at,
        event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens AS tokens,
        billing_dimensions(
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
            event.session_id
        ) AS dimensions,
        event.tags::text[] AS tags
    FROM billing_unpricedevent AS unpriced_event
    JOIN billing_usageevent AS event
        ON event.organization_id = p_organization_id
        AND event.id = unpriced_event.event_id
    WHERE unpriced_event.organization_id = p_organization_id
    OFFSET 0 -- computes the dimensions once
$$;

-- Open authorizations at p_now.
CREATE FUNCTION billing_reservations(p_organization_id bigint, p_now timestamptz) RETURNS TABLE (
    expires_at timestamptz,
    usd numeric,
    tokens bigint,
    dimensions text[],
    tags text[]
)
LANGUAGE sql STABLE AS $$
    SELECT
        reservation.expires_at,
        reservation.amount_usd::numeric AS usd,
        reservation.tokens,
        billing_dimensions(
            reservation.credential_id,
            reservation.environment,
            reservation.user_ref,
            reservation.end_user,
            reservation.team,
            reservation.provider,
            reservation.agent_id,
            reservation.capability,
            reservation.model,
            reservation.sent_model,
            reservation.workflow_id,
            reservation.run_id,
            reservation.session_id
        ) AS dimensions,
        reservation.tags::text[] AS tags
    FROM billing_authorization AS reservation
    WHERE reservation.organization_id = p_organization_id
        AND reservation.status = 'reserved'
        AND reservation.expires_at > p_now
    OFFSET 0 -- computes the dimensions once
$$;
