-- Reserve p_amount_usd, unless
--
--   a limit has no room: spent + reserved + p_amount_usd would exceed p_max_usd (NULL: that limit refuses nothing),
--   the limits have changed since p_revision was read, or
--   the idempotency key was used before.
--
-- Returns a row for each requested scope and value, in order, with its balance before the reservation (billing_balances);
-- without any, one row with NULLs. `revision` is that of the current limits.
--
-- It is one function because the locks (p_lock_keys, in this order) are held meanwhile: how long it takes bounds how
-- many authorizations there can be. Each of its statements sees what was committed when it began, so balances are read
-- behind the locks.

CREATE OR REPLACE FUNCTION billing_reserve(
    p_organization_id bigint,
    p_lock_keys bigint[],
    p_scopes text[],
    p_values text[],
    p_starts timestamptz[],
    p_fallback_prices numeric[],
    p_max_usd numeric[],
    p_revision bigint,
    p_authorization_id uuid,
    p_credential_id bigint,
    p_amount_usd numeric,
    p_created_at timestamptz,
    p_expires_at timestamptz,
    p_idempotency_key text,
    p_payload_hash bigint,
    p_service text,
    p_model text,
    p_user_ref text,
    p_workflow_id text,
    p_run_id text,
    p_session_id text,
    p_tags text[]
) RETURNS TABLE (
    is_granted boolean,
    revision bigint,
    spent_usd numeric,
    edge_usd numeric,
    reserved_usd numeric
)
LANGUAGE plpgsql AS $$
DECLARE
    current_revision bigint;
    was_inserted boolean := false;
    all_spent_usd numeric[];
    all_edge_usd numeric[];
    all_reserved_usd numeric[];
BEGIN
    -- The first call of a connection makes the plans, which takes a while: before the locks, not behind them.
    IF current_setting('costtrack.has_limit_plans', true) IS DISTINCT FROM 'true' THEN
        PERFORM FROM billing_balances(p_organization_id, '{}', '{}', '{}', '{}', p_created_at);
        PERFORM set_config('costtrack.has_limit_plans', 'true', false);
    END IF;

    PERFORM pg_advisory_xact_lock(lock.key)
    FROM unnest(p_lock_keys) AS lock (key);

    SELECT
        array_agg(balance.spent_usd ORDER BY balance.ordinal),
        array_agg(balance.edge_usd ORDER BY balance.ordinal),
        array_agg(balance.reserved_usd ORDER BY balance.ordinal)
    INTO all_spent_usd, all_edge_usd, all_reserved_usd
    FROM billing_balances(
        p_organization_id,
        p_scopes,
        p_values,
        p_starts,
        p_fallback_prices,
        p_created_at
    ) AS balance;

    SELECT coalesce(max(limit_set.revision), 0)
    INTO current_revision
    FROM billing_limitsetrevision AS limit_set
    WHERE limit_set.organization_id = p_organization_id;

    IF current_revision = p_revision AND NOT EXISTS (
        SELECT
        FROM unnest(all_spent_usd, all_edge_usd, all_reserved_usd, p_max_usd)
            AS balance (spent_usd, edge_usd, reserved_usd, max_usd)
        WHERE balance.spent_usd + balance.edge_usd >= balance.max_usd
            OR balance.spent_usd + balance.edge_usd + balance.reserved_usd + p_amount_usd > balance.max_usd
    ) THEN
        INSERT INTO billing_authorization (
            id,
            organization_id,
            credential_id,
            status,
            amount_usd,
            created_at,
            expires_at,
            idempotency_key,
            payload_hash,
            service,
            model,
            user_ref,
            workflow_id,
            run_id,
            session_id,
            tags
        )
        VALUES (
            p_authorization_id,
            p_organization_id,
            p_credential_id,
            'reserved',
            p_amount_usd,
            p_created_at,
            p_expires_at,
            p_idempotency_key,
            p_payload_hash,
            p_service,
            p_model,
            p_user_ref,
            p_workflow_id,
            p_run_id,
            p_session_id,
            p_tags
        )
        ON CONFLICT (organization_id, idempotency_key) WHERE idempotency_key <> '' DO NOTHING;
        was_inserted := FOUND;
    END IF;

    RETURN QUERY
    SELECT
        was_inserted,
        current_revision,
        balance.spent_usd,
        balance.edge_usd,
        balance.reserved_usd
    FROM (SELECT) AS result
    LEFT JOIN unnest(all_spent_usd, all_edge_usd, all_reserved_usd)
        WITH ORDINALITY AS balance (spent_usd, edge_usd, reserved_usd, ordinal) ON true
    ORDER BY balance.ordinal;
END $$;
