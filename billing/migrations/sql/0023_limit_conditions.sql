-- Which limits an event, or an authorization, counts under. PostgreSQL inlines these functions, so they cost no call.
--
-- A call has its dimensions as one array (billing_dimensions) and its tags. A condition is a scope
-- (billing.types.LimitScope), a value, and what counts as the value of a call without one (NULL: nothing). The scope
-- `model_pattern` has a pattern of LIKE. The conditions of a limit are one array, three elements for each of up to three.

-- The views are created again by 0023_live_scopes.sql.
DROP VIEW billing_livescopehour;

DROP VIEW billing_livescopetotal;

DROP FUNCTION billing_limit_values(bigint, bigint, text, text, text, text, text, text, text, text, text, text, text, text, text[]);

DROP FUNCTION billing_condition_key(text, text, text, bigint, text, text, text, text, text, text, text, text, text, text, text, text, text[], text);

DROP FUNCTION billing_dimension(text, bigint, text, text, text, text, text, text, text, text, text, text, text, text, text);

DROP FUNCTION billing_is_added_up(text[]);

-- The dimensions of a call in the order of billing_dimension_index. NULL: the call has no value.
CREATE FUNCTION billing_dimensions(
    p_credential_id bigint,
    p_environment text,
    p_user_ref text,
    p_end_user text,
    p_team text,
    p_provider text,
    p_agent_id text,
    p_capability text,
    p_model text,
    p_sent_model text,
    p_workflow_id text,
    p_run_id text,
    p_session_id text
) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY[
        p_credential_id::text,
        nullif(p_environment, ''),
        nullif(p_user_ref, ''),
        nullif(p_end_user, ''),
        nullif(p_team, ''),
        nullif(p_provider, ''),
        nullif(p_agent_id, ''),
        nullif(p_capability, ''),
        nullif(p_model, ''),
        coalesce(nullif(p_sent_model, ''), nullif(p_model, '')),
        nullif(p_workflow_id, ''),
        nullif(p_run_id, ''),
        nullif(p_session_id, '')
    ]
$$;

CREATE FUNCTION billing_dimension_index(p_scope text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_scope
        WHEN 'credential' THEN 1
        WHEN 'environment' THEN 2
        WHEN 'user' THEN 3
        WHEN 'end_user' THEN 4
        WHEN 'team' THEN 5
        WHEN 'provider' THEN 6
        WHEN 'agent' THEN 7
        WHEN 'capability' THEN 8
        WHEN 'model' THEN 9
        WHEN 'model_pattern' THEN 9
        WHEN 'sent_model' THEN 10
        WHEN 'workflow' THEN 11
        WHEN 'run' THEN 12
        WHEN 'session' THEN 13
    END
$$;

CREATE FUNCTION billing_has_value(
    p_scope text,
    p_value text,
    p_default text,
    p_dimensions text[],
    p_tags text[]
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_scope
        WHEN 'organization' THEN true
        WHEN 'tag' THEN p_value = ANY (p_tags) OR (p_tags = '{}' AND p_value = p_default)
        WHEN 'model_pattern' THEN p_dimensions[billing_dimension_index(p_scope)] LIKE p_value
        ELSE coalesce(p_dimensions[billing_dimension_index(p_scope)], p_default) = p_value
    END
$$;

CREATE FUNCTION billing_meets_conditions(p_conditions text[], p_dimensions text[], p_tags text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT
        billing_has_value(p_conditions[1], p_conditions[2], p_conditions[3], p_dimensions, p_tags)
        AND (
            p_conditions[4] IS NULL
            OR billing_has_value(p_conditions[4], p_conditions[5], p_conditions[6], p_dimensions, p_tags)
        )
        AND (
            p_conditions[7] IS NULL
            OR billing_has_value(p_conditions[7], p_conditions[8], p_conditions[9], p_dimensions, p_tags)
        )
$$;

-- The limits that the functions of balances get as arrays, as rows. A limit is given by the scope and value of its rollup
-- rows, and if these are its own (the scope is `#` and its id), by its conditions, an array as text.
CREATE FUNCTION billing_requested_limits(
    p_scopes text[],
    p_values text[],
    p_conditions text[],
    p_units text[],
    p_starts timestamptz[],
    p_fallback_prices numeric[]
) RETURNS TABLE (
    ordinal bigint,
    scope text,
    value text,
    conditions text[],
    unit text,
    start timestamptz,
    fallback_price numeric
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        listed.ordinal,
        listed.scope,
        listed.value,
        coalesce(listed.conditions::text[], ARRAY[listed.scope, listed.value, NULL]),
        listed.unit,
        listed.start,
        listed.fallback_price
    FROM unnest(p_scopes, p_values, p_conditions, p_units, p_starts, p_fallback_prices)
        WITH ORDINALITY AS listed (scope, value, conditions, unit, start, fallback_price, ordinal)
$$;

-- The value that a call has in a condition: NULL if it does not meet the condition, empty if the condition has a value.
-- The tag is one of several.
CREATE FUNCTION billing_condition_key(
    p_scope text,
    p_value text,
    p_default text,
    p_dimensions text[],
    p_tags text[],
    p_tag text
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_scope IS NULL OR p_scope = 'organization' THEN ''
        WHEN p_value = '' AND p_scope = 'tag' THEN coalesce(nullif(p_tag, ''), p_default)
        WHEN p_value = '' THEN coalesce(p_dimensions[billing_dimension_index(p_scope)], p_default)
        WHEN billing_has_value(p_scope, p_value, p_default, p_dimensions, p_tags) THEN ''
    END
$$;

-- The limits with rollup rows of their own that an event, or an authorization, counts under: the scope of the rows (`#`
-- and the id of the limit), the value, and the unit of the limit.
CREATE FUNCTION billing_limit_values(p_organization_id bigint, p_dimensions text[], p_tags text[]) RETURNS TABLE (
    scope text,
    value text,
    unit text
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT '#' || matching.id, billing_joined_value(ARRAY[matching.first, matching.second, matching.third]), matching.unit
    FROM (
        SELECT
            spend_limit.id,
            spend_limit.unit,
            billing_condition_key(
                spend_limit.compiled_conditions[1],
                spend_limit.compiled_conditions[2],
                spend_limit.compiled_conditions[3],
                call.dimensions,
                call.tags,
                label.tag
            ) AS first,
            billing_condition_key(
                spend_limit.compiled_conditions[4],
                spend_limit.compiled_conditions[5],
                spend_limit.compiled_conditions[6],
                call.dimensions,
                call.tags,
                label.tag
            ) AS second,
            billing_condition_key(
                spend_limit.compiled_conditions[7],
                spend_limit.compiled_conditions[8],
                spend_limit.compiled_conditions[9],
                call.dimensions,
                call.tags,
                label.tag
            ) AS third
        FROM (
            SELECT p_dimensions AS dimensions, p_tags AS tags
            OFFSET 0 -- computes the array once
        ) AS call
        CROSS JOIN billing_spendlimit AS spend_limit
        CROSS JOIN LATERAL unnest(
            CASE
                WHEN call.tags <> '{}' AND (
                    (spend_limit.compiled_conditions[1] = 'tag' AND spend_limit.compiled_conditions[2] = '')
                    OR (spend_limit.compiled_conditions[4] = 'tag' AND spend_limit.compiled_conditions[5] = '')
                    OR (spend_limit.compiled_conditions[7] = 'tag' AND spend_limit.compiled_conditions[8] = '')
                ) THEN call.tags
                ELSE ARRAY['']
            END
        ) AS label (tag)
        WHERE spend_limit.organization_id = p_organization_id
            AND spend_limit.removed_at IS NULL
            AND spend_limit.compiled_conditions <> '{}'
    ) AS matching
    WHERE matching.first IS NOT NULL
        AND matching.second IS NOT NULL
        AND matching.third IS NOT NULL
$$;
