-- Reserve the amount of p_authorization, unless
--
--   a limit has no room: spent + reserved + its amount would exceed p_maximums (NULL: that limit refuses nothing),
--   the limits have changed since p_revision was read, or
--   the idempotency key was used before.
--
-- Returns a row for each requested scope and value, in order, with its balance before the reservation (billing_balances);
-- without any, one row with NULLs. `revision` is that of the current limits.
--
-- It is one function because the locks (p_lock_keys, in this order) are held meanwhile: how long it takes bounds how
-- many authorizations there can be. Each of its statements sees what was committed when it began, so balances are read
-- behind the locks.
--
-- p_scopes to p_fallback_prices and p_covered_until to p_covered_edges are those of billing_balances, which also explains
-- `uncovered_events`. p_authorization is an object with columns of billing_authorization.

DROP FUNCTION billing_reserve(
    bigint, bigint[], text[], text[], text[], text[], timestamptz[], numeric[], numeric[], bigint, json
);

CREATE FUNCTION billing_reserve(
    p_organization_id bigint,
    p_lock_keys bigint[],
    p_scopes text[],
    p_values text[],
    p_conditions text[],
    p_units text[],
    p_starts timestamptz[],
    p_fallback_prices numeric[],
    p_covered_until uuid,
    p_covered_state text,
    p_covered numeric[],
    p_covered_edges numeric[],
    p_maximums numeric[],
    p_revision bigint,
    p_authorization json
) RETURNS TABLE (
    is_granted boolean,
    revision bigint,
    spent_usd numeric,
    edge_usd numeric,
    reserved_usd numeric,
    uncovered_events bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    new_authorization billing_authorization%ROWTYPE;
    current_revision bigint;
    was_inserted boolean := false;
    all_spent_usd numeric[];
    all_edge_usd numeric[];
    all_reserved_usd numeric[];
    added_events bigint;
BEGIN
    new_authorization := json_populate_record(NULL::billing_authorization, p_authorization);

    -- The first call of a connection makes the plans, which takes a while: before the locks, not behind them.
    IF current_setting('costtrack.has_limit_plans', true) IS DISTINCT FROM 'true' THEN
        PERFORM FROM billing_balances(
            p_organization_id, '{}', '{}', '{}', '{}', '{}', '{}', new_authorization.created_at
        );
        PERFORM set_config('costtrack.has_limit_plans', 'true', false);
    END IF;

    PERFORM pg_advisory_xact_lock(lock.key)
    FROM unnest(p_lock_keys) AS lock (key);

    SELECT
        array_agg(balance.spent_usd ORDER BY balance.ordinal),
        array_agg(balance.edge_usd ORDER BY balance.ordinal),
        array_agg(balance.reserved_usd ORDER BY balance.ordinal),
        max(balance.uncovered_events)
    INTO all_spent_usd, all_edge_usd, all_reserved_usd, added_events
    FROM billing_balances(
        p_organization_id,
        p_scopes,
        p_values,
        p_conditions,
        p_units,
        p_starts,
        p_fallback_prices,
        new_authorization.created_at,
        p_covered_until,
        p_covered_state,
        p_covered,
        p_covered_edges
    ) AS balance;

    SELECT coalesce(max(limit_set.revision), 0)
    INTO current_revision
    FROM billing_limitsetrevision AS limit_set
    WHERE limit_set.organization_id = p_organization_id;

    IF current_revision = p_revision AND NOT EXISTS (
        SELECT
        FROM unnest(all_spent_usd, all_edge_usd, all_reserved_usd, p_maximums, p_units)
            AS balance (spent_usd, edge_usd, reserved_usd, maximum, unit)
        WHERE balance.spent_usd + balance.edge_usd >= balance.maximum
            OR balance.spent_usd + balance.edge_usd + balance.reserved_usd
                + billing_in_unit(balance.unit, new_authorization.amount_usd, new_authorization.tokens, 1)
                > balance.maximum
    ) THEN
        INSERT INTO billing_authorization VALUES (new_authorization.*)
        ON CONFLICT (organization_id, idempotency_key) WHERE idempotency_key <> '' DO NOTHING;
        was_inserted := FOUND;
    END IF;

    RETURN QUERY
    SELECT
        was_inserted,
        current_revision,
        balance.spent_usd,
        balance.edge_usd,
        balance.reserved_usd,
        added_events
    FROM (SELECT) AS result
    LEFT JOIN unnest(all_spent_usd, all_edge_usd, all_reserved_usd)
        WITH ORDINALITY AS balance (spent_usd, edge_usd, reserved_usd, ordinal) ON true
    ORDER BY balance.ordinal;
END $$;
