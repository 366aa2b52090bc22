-- Open authorizations at p_now under each limit, in its unit, in the order of the arrays (NULL: none). The arrays are those
-- of billing_requested_limits.
--
-- With hundreds of open authorizations, reading their rows takes the time, so they are read once for all limits. The limits
-- of a call share its values, so few conditions differ: each authorization is reduced to the set of conditions that it
-- meets, one bit each, and each limit adds up the sets that have its own bits. A condition gets a bit if it is the first
-- one with its scope (of tags, one of the first four); limits with other conditions are added up one by one.

CREATE FUNCTION billing_condition_bit(p_scope text, p_value text, p_default text, p_nth bigint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_value = p_default THEN NULL -- a call without a value meets it, too
        WHEN p_scope = 'tag' AND p_nth <= 4 THEN 13 + p_nth::integer
        WHEN p_scope = 'model_pattern' AND p_nth = 1 THEN 18
        WHEN p_nth = 1 THEN billing_dimension_index(p_scope)
    END
$$;

CREATE OR REPLACE FUNCTION billing_reserved(
    p_organization_id bigint,
    p_scopes text[],
    p_values text[],
    p_conditions text[],
    p_units text[],
    p_now timestamptz
) RETURNS numeric[]
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN (
        WITH requested AS MATERIALIZED (
            SELECT *
            FROM billing_requested_limits(p_scopes, p_values, p_conditions, p_units, NULL, NULL)
        ),
        condition AS MATERIALIZED (
            SELECT
                ranked.ordinal,
                ranked.value,
                billing_condition_bit(ranked.scope, ranked.value, ranked.default_value, ranked.nth) AS bit
            FROM (
                SELECT
                    requested.ordinal,
                    part.scope,
                    part.value,
                    part.default_value,
                    dense_rank() OVER (PARTITION BY part.scope ORDER BY part.value) AS nth
                FROM requested
                CROSS JOIN LATERAL (
                    VALUES
                        (requested.conditions[1], requested.conditions[2], requested.conditions[3]),
                        (requested.conditions[4], requested.conditions[5], requested.conditions[6]),
                        (requested.conditions[7], requested.conditions[8], requested.conditions[9])
                ) AS part (scope, value, default_value)
                WHERE part.scope <> 'organization'
            ) AS ranked
        ),
        own AS MATERIALIZED (
            SELECT
                max(condition.value) FILTER (WHERE condition.bit = 1) AS credential,
                max(condition.value) FILTER (WHERE condition.bit = 2) AS environment,
                max(condition.value) FILTER (WHERE condition.bit = 3) AS user_ref,
                max(condition.value) FILTER (WHERE condition.bit = 4) AS end_user,
                max(condition.value) FILTER (WHERE condition.bit = 5) AS team,
                max(condition.value) FILTER (WHERE condition.bit = 6) AS provider,
                max(condition.value) FILTER (WHERE condition.bit = 7) AS agent,
                max(condition.value) FILTER (WHERE condition.bit = 8) AS capability,
                max(condition.value) FILTER (WHERE condition.bit = 9) AS model,
                max(condition.value) FILTER (WHERE condition.bit = 10) AS sent_model,
                max(condition.value) FILTER (WHERE condition.bit = 11) AS workflow,
                max(condition.value) FILTER (WHERE condition.bit = 12) AS run,
                max(condition.value) FILTER (WHERE condition.bit = 13) AS session,
                max(condition.value) FILTER (WHERE condition.bit = 14) AS tag_1,
                max(condition.value) FILTER (WHERE condition.bit = 15) AS tag_2,
                max(condition.value) FILTER (WHERE condition.bit = 16) AS tag_3,
                max(condition.value) FILTER (WHERE condition.bit = 17) AS tag_4,
                max(condition.value) FILTER (WHERE condition.bit = 18) AS model_pattern,
                coalesce(bool_or(condition.bit NOT IN (1, 3, 4, 5, 9, 14)), false) AS has_other_bits
            FROM condition
        ),
        met AS MATERIALIZED (
            SELECT
                CASE WHEN own.credential = reservation.credential_id::text THEN 1 << 1 ELSE 0 END
                    | CASE WHEN own.user_ref = reservation.user_ref THEN 1 << 3 ELSE 0 END
                    | CASE WHEN own.end_user = reservation.end_user THEN 1 << 4 ELSE 0 END
                    | CASE WHEN own.team = reservation.team THEN 1 << 5 ELSE 0 END
                    | CASE WHEN own.model = reservation.model THEN 1 << 9 ELSE 0 END
                    | CASE WHEN own.tag_1 = ANY (reservation.tags) THEN 1 << 14 ELSE 0 END
                    | CASE
                        WHEN NOT own.has_other_bits THEN 0 -- saves the time of the rarer ones
                        ELSE CASE WHEN own.environment = reservation.environment THEN 1 << 2 ELSE 0 END
                            | CASE WHEN own.provider = reservation.provider THEN 1 << 6 ELSE 0 END
                            | CASE WHEN own.agent = reservation.agent_id THEN 1 << 7 ELSE 0 END
                            | CASE WHEN own.capability = reservation.capability THEN 1 << 8 ELSE 0 END
                            | CASE
                                WHEN own.sent_model = coalesce(nullif(reservation.sent_model, ''), reservation.model)
                                THEN 1 << 10
                                ELSE 0
                            END
                            | CASE WHEN own.workflow = reservation.workflow_id THEN 1 << 11 ELSE 0 END
                            | CASE WHEN own.run = reservation.run_id THEN 1 << 12 ELSE 0 END
                            | CASE WHEN own.session = reservation.session_id THEN 1 << 13 ELSE 0 END
                            | CASE WHEN own.tag_2 = ANY (reservation.tags) THEN 1 << 15 ELSE 0 END
                            | CASE WHEN own.tag_3 = ANY (reservation.tags) THEN 1 << 16 ELSE 0 END
                            | CASE WHEN own.tag_4 = ANY (reservation.tags) THEN 1 << 17 ELSE 0 END
                            | CASE WHEN nullif(reservation.model, '') LIKE own.model_pattern THEN 1 << 18 ELSE 0 END
                    END AS bits,
                sum(reservation.amount_usd) AS usd,
                sum(reservation.tokens)::bigint AS tokens,
                count(*) AS requests
            FROM own
            CROSS JOIN billing_authorization AS reservation
            WHERE reservation.organization_id = p_organization_id
                AND reservation.status = 'reserved'
                AND reservation.expires_at > p_now
            GROUP BY 1
        ),
        reserved AS MATERIALIZED (
            SELECT *
            FROM billing_reservations(p_organization_id, p_now)
        )
        SELECT array_agg(
            CASE
                WHEN needed.has_bits IS NOT FALSE THEN (
                    SELECT sum(billing_in_unit(requested.unit, met.usd, met.tokens, met.requests))
                    FROM met
                    WHERE met.bits & coalesce(needed.bits, 0) = coalesce(needed.bits, 0)
                )
                ELSE (
                    SELECT sum(billing_in_unit(requested.unit, reservation.usd, reservation.tokens, 1))
                    FROM reserved AS reservation
                    WHERE billing_meets_conditions(requested.conditions, reservation.dimensions, reservation.tags)
                )
            END
            ORDER BY requested.ordinal
        )
        FROM requested
        LEFT JOIN (
            SELECT
                condition.ordinal,
                bit_or(1 << condition.bit) AS bits,
                bool_and(condition.bit IS NOT NULL) AS has_bits
            FROM condition
            GROUP BY condition.ordinal
        ) AS needed ON needed.ordinal = requested.ordinal
    );
END $$;
