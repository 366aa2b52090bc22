-- Open authorizations at p_now under each requested scope and value, in USD, in the order of the arrays (NULL: none).
--
-- With hundreds of open authorizations, reading their rows takes the time: most are so new that PostgreSQL looks up for
-- each whether its transaction has ended. So they are read once for one value of each scope, which is what a call has,
-- and again only for further values of a scope, such as several tags.

CREATE FUNCTION billing_reserved(
    p_organization_id bigint,
    p_scopes text[],
    p_values text[],
    p_now timestamptz
) RETURNS numeric[]
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN (
        WITH requested AS (
            SELECT
                scope,
                value,
                ordinal,
                row_number() OVER (PARTITION BY scope ORDER BY ordinal) AS nth
            FROM unnest(p_scopes, p_values) WITH ORDINALITY AS listed (scope, value, ordinal)
        ),
        own AS (
            SELECT
                nth,
                max(value) FILTER (WHERE scope = 'credential') AS credential_value,
                max(value) FILTER (WHERE scope = 'user') AS user_value,
                max(value) FILTER (WHERE scope = 'model') AS model_value,
                max(value) FILTER (WHERE scope = 'workflow') AS workflow_value,
                max(value) FILTER (WHERE scope = 'run') AS run_value,
                max(value) FILTER (WHERE scope = 'session') AS session_value,
                max(value) FILTER (WHERE scope = 'tag') AS tag_value
            FROM requested
            GROUP BY nth
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
                        FILTER (WHERE own.user_value = reservation.user_ref) AS user_usd,
                    sum(reservation.amount_usd)
                        FILTER (WHERE own.model_value = reservation.model) AS model_usd,
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
            CASE requested.scope
                WHEN 'organization' THEN reserved.organization_usd
                WHEN 'credential' THEN reserved.credential_usd
                WHEN 'user' THEN reserved.user_usd
                WHEN 'model' THEN reserved.model_usd
                WHEN 'workflow' THEN reserved.workflow_usd
                WHEN 'run' THEN reserved.run_usd
                WHEN 'session' THEN reserved.session_usd
                WHEN 'tag' THEN reserved.tag_usd
            END
            ORDER BY requested.ordinal
        )
        FROM requested
        JOIN reserved ON reserved.nth = requested.nth
    );
END $$;
