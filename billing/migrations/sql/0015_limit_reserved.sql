-- Open authorizations at p_now under each limit, in its unit, in the order of the arrays (NULL: none).
--
-- A limit is given by the scope and value of its rollup rows, and if these are its own (p_scopes has `#` and its id), by
-- its conditions, each an array as text (billing_is_in_limit). p_units is the unit of its amounts: usd, tokens or requests.
--
-- With hundreds of open authorizations, reading their rows takes the time: most are so new that PostgreSQL looks up for
-- each whether its transaction has ended. So they are read once for one value of each scope, which is what a call has,
-- and again only for further values of a scope, such as several tags. Limits with several conditions, patterns or other
-- units than US dollars are added up one by one.

DROP FUNCTION billing_reserved(bigint, text[], text[], timestamptz);

CREATE FUNCTION billing_is_added_up(p_conditions text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        cardinality(p_conditions) > 3 OR p_conditions[1] = 'model_pattern' OR p_conditions[3] IS NOT NULL,
        false
    )
$$;

CREATE FUNCTION billing_reserved(
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
DECLARE
    requested_count integer := cardinality(p_scopes);
    singles_usd numeric[];
    others numeric[];
BEGIN
    WITH requested AS MATERIALIZED (
        SELECT
            listed.ordinal,
            coalesce(listed.conditions[1], listed.scope) AS scope,
            coalesce(listed.conditions[2], listed.value) AS value
        FROM (
            SELECT scope, value, conditions::text[] AS conditions, unit, ordinal
            FROM unnest(p_scopes, p_values, p_conditions, p_units)
                WITH ORDINALITY AS given (scope, value, conditions, unit, ordinal)
        ) AS listed
        WHERE listed.unit = 'usd'
            AND NOT billing_is_added_up(listed.conditions)
    ),
    single AS (
        SELECT
            scope,
            value,
            ordinal,
            dense_rank() OVER (PARTITION BY scope ORDER BY value) AS nth
        FROM requested
    ),
    own AS (
        SELECT
            single.nth,
            max(single.value) FILTER (WHERE single.scope = 'credential') AS credential_value,
            max(single.value) FILTER (WHERE single.scope = 'environment') AS environment_value,
            max(single.value) FILTER (WHERE single.scope = 'user') AS user_value,
            max(single.value) FILTER (WHERE single.scope = 'end_user') AS end_user_value,
            max(single.value) FILTER (WHERE single.scope = 'team') AS team_value,
            max(single.value) FILTER (WHERE single.scope = 'provider') AS provider_value,
            max(single.value) FILTER (WHERE single.scope = 'agent') AS agent_value,
            max(single.value) FILTER (WHERE single.scope = 'capability') AS capability_value,
            max(single.value) FILTER (WHERE single.scope = 'model') AS model_value,
            max(single.value) FILTER (WHERE single.scope = 'sent_model') AS sent_model_value,
            max(single.value) FILTER (WHERE single.scope = 'workflow') AS workflow_value,
            max(single.value) FILTER (WHERE single.scope = 'run') AS run_value,
            max(single.value) FILTER (WHERE single.scope = 'session') AS session_value,
            max(single.value) FILTER (WHERE single.scope = 'tag') AS tag_value
        FROM single
        GROUP BY single.nth
    ),
    reserved AS MATERIALIZED (
        SELECT own.nth, sums.*
        FROM own
        CROSS JOIN LATERAL (
            SELECT
                sum(reservation.amount_usd) AS organization_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.credential_value = reservation.credential_id::text) AS credential_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.environment_value = reservation.environment) AS environment_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.user_value = reservation.user_ref) AS user_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.end_user_value = reservation.end_user) AS end_user_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.team_value = reservation.team) AS team_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.provider_value = reservation.provider) AS provider_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.agent_value = reservation.agent_id) AS agent_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.capability_value = reservation.capability) AS capability_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.model_value = reservation.model) AS model_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.sent_model_value = coalesce(nullif(reservation.sent_model, ''), reservation.model)) AS sent_model_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.workflow_value = reservation.workflow_id) AS workflow_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.run_value = reservation.run_id) AS run_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.session_value = reservation.session_id) AS session_usd,
                sum(reservation.amount_usd)
                    FILTER (WHERE own.tag_value = ANY (reservation.tags)) AS tag_usd
            FROM billing_authorization AS reservation
            WHERE reservation.organization_id = p_organization_id
                AND reservation.status = 'reserved'
                AND reservation.expires_at > p_now
        ) AS sums
    )
    SELECT array_agg(
        CASE single.scope
            WHEN 'organization' THEN reserved.organization_usd
            WHEN 'credential' THEN reserved.credential_usd
            WHEN 'environment' THEN reserved.environment_usd
            WHEN 'user' THEN reserved.user_usd
            WHEN 'end_user' THEN reserved.end_user_usd
            WHEN 'team' THEN reserved.team_usd
            WHEN 'provider' THEN reserved.provider_usd
            WHEN 'agent' THEN reserved.agent_usd
            WHEN 'capability' THEN reserved.capability_usd
            WHEN 'model' THEN reserved.model_usd
            WHEN 'sent_model' THEN reserved.sent_model_usd
            WHEN 'workflow' THEN reserved.workflow_usd
            WHEN 'run' THEN reserved.run_usd
            WHEN 'session' THEN reserved.session_usd
            WHEN 'tag' THEN reserved.tag_usd
        END
        ORDER BY listed.ordinal
    )
    INTO singles_usd
    FROM generate_series(1, requested_count) AS listed (ordinal)
    LEFT JOIN single ON single.ordinal = listed.ordinal
    LEFT JOIN reserved ON reserved.nth = single.nth;

    IF NOT EXISTS (
        SELECT
        FROM unnest(p_conditions, p_units) AS listed (conditions, unit)
        WHERE listed.unit <> 'usd'
            OR billing_is_added_up(listed.conditions::text[])
    ) THEN
        RETURN singles_usd;
    END IF;

    WITH requested AS MATERIALIZED (
        SELECT *
        FROM (
            SELECT scope, value, conditions::text[] AS conditions, unit, ordinal
            FROM unnest(p_scopes, p_values, p_conditions, p_units)
                WITH ORDINALITY AS given (scope, value, conditions, unit, ordinal)
        ) AS listed
        WHERE listed.unit <> 'usd'
            OR billing_is_added_up(listed.conditions)
    )
    SELECT array_agg(coalesce(singles_usd[listed.ordinal], total.amount) ORDER BY listed.ordinal)
    INTO others
    FROM generate_series(1, requested_count) AS listed (ordinal)
    LEFT JOIN (
        SELECT
            requested.ordinal,
            sum(billing_in_unit(requested.unit, reservation.amount_usd, reservation.tokens, 1)) AS amount
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
            )
        GROUP BY requested.ordinal
    ) AS total ON total.ordinal = listed.ordinal;
    RETURN others;
END $$;
