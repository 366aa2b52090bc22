-- Which limits an event, or an authorization, counts under. PostgreSQL inlines these functions, so they cost no call.
--
-- A condition is a scope (billing.types.LimitScope), a value, and what counts as the value of a call without one (NULL:
-- nothing). The scope `model_pattern` has a pattern of LIKE.

-- The value of a dimension; the tag is one of several.
CREATE FUNCTION billing_dimension(
    p_scope text,
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
    p_session_id text,
    p_tag text
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_scope
        WHEN 'credential' THEN p_credential_id::text
        WHEN 'environment' THEN p_environment
        WHEN 'user' THEN p_user_ref
        WHEN 'end_user' THEN p_end_user
        WHEN 'team' THEN p_team
        WHEN 'provider' THEN p_provider
        WHEN 'agent' THEN p_agent_id
        WHEN 'capability' THEN p_capability
        WHEN 'model' THEN p_model
        WHEN 'sent_model' THEN p_sent_model
        WHEN 'workflow' THEN p_workflow_id
        WHEN 'run' THEN p_run_id
        WHEN 'session' THEN p_session_id
        WHEN 'tag' THEN p_tag
    END
$$;

CREATE FUNCTION billing_meets_condition(
    p_scope text,
    p_value text,
    p_default text,
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
    p_session_id text,
    p_tags text[]
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_scope
        WHEN 'organization' THEN true
        WHEN 'credential' THEN coalesce(p_credential_id::text, p_default) = p_value
        WHEN 'environment' THEN coalesce(nullif(p_environment, ''), p_default) = p_value
        WHEN 'user' THEN coalesce(nullif(p_user_ref, ''), p_default) = p_value
        WHEN 'end_user' THEN coalesce(nullif(p_end_user, ''), p_default) = p_value
        WHEN 'team' THEN coalesce(nullif(p_team, ''), p_default) = p_value
        WHEN 'provider' THEN coalesce(nullif(p_provider, ''), p_default) = p_value
        WHEN 'agent' THEN coalesce(nullif(p_agent_id, ''), p_default) = p_value
        WHEN 'capability' THEN coalesce(nullif(p_capability, ''), p_default) = p_value
        WHEN 'model' THEN coalesce(nullif(p_model, ''), p_default) = p_value
        WHEN 'sent_model' THEN coalesce(nullif(p_sent_model, ''), p_default) = p_value
        WHEN 'workflow' THEN coalesce(nullif(p_workflow_id, ''), p_default) = p_value
        WHEN 'run' THEN coalesce(nullif(p_run_id, ''), p_default) = p_value
        WHEN 'session' THEN coalesce(nullif(p_session_id, ''), p_default) = p_value
        WHEN 'model_pattern' THEN p_model LIKE p_value
        WHEN 'tag' THEN p_value = ANY (p_tags) OR (p_tags = '{}' AND p_value = p_default)
    END
$$;

-- Whether an event, or an authorization, counts under a limit: of one scope and value (p_conditions is NULL), or with up
-- to three conditions, three elements of p_conditions each.
CREATE FUNCTION billing_is_in_limit(
    p_scope text,
    p_value text,
    p_conditions text[],
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
    p_session_id text,
    p_tags text[]
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_conditions IS NULL THEN billing_meets_condition(
            p_scope,
            p_value,
            NULL,
            p_credential_id,
            p_environment,
            p_user_ref,
            p_end_user,
            p_team,
            p_provider,
            p_agent_id,
            p_capability,
            p_model,
            p_sent_model,
            p_workflow_id,
            p_run_id,
            p_session_id,
            p_tags
        )
        ELSE billing_meets_condition(
            p_conditions[1],
            p_conditions[2],
            p_conditions[3],
            p_credential_id,
            p_environment,
            p_user_ref,
            p_end_user,
            p_team,
            p_provider,
            p_agent_id,
            p_capability,
            p_model,
            p_sent_model,
            p_workflow_id,
            p_run_id,
            p_session_id,
            p_tags
        )
            AND (
                p_conditions[4] IS NULL
                OR billing_meets_condition(
                    p_conditions[4],
                    p_conditions[5],
                    p_conditions[6],
                    p_credential_id,
                    p_environment,
                    p_user_ref,
                    p_end_user,
                    p_team,
                    p_provider,
                    p_agent_id,
                    p_capability,
                    p_model,
                    p_sent_model,
                    p_workflow_id,
                    p_run_id,
                    p_session_id,
                    p_tags
                )
            )
            AND (
                p_conditions[7] IS NULL
                OR billing_meets_condition(
                    p_conditions[7],
                    p_conditions[8],
                    p_conditions[9],
                    p_credential_id,
                    p_environment,
                    p_user_ref,
                    p_end_user,
                    p_team,
                    p_provider,
                    p_agent_id,
                    p_capability,
                    p_model,
                    p_sent_model,
                    p_workflow_id,
                    p_run_id,
                    p_session_id,
                    p_tags
                )
            )
    END
$$;

-- What an event, or an authorization, counts in a limit of that unit.
CREATE FUNCTION billing_in_unit(p_unit text, p_usd numeric, p_tokens bigint, p_requests bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_unit
        WHEN 'tokens' THEN p_tokens
        WHEN 'requests' THEN p_requests
        ELSE p_usd
    END
$$;

-- The value that a call has in a condition: NULL if it does not meet the condition, empty if the condition has a value.
CREATE FUNCTION billing_condition_key(
    p_scope text,
    p_value text,
    p_default text,
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
    p_session_id text,
    p_tags text[],
    p_tag text
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_scope IS NULL OR p_scope = 'organization' THEN ''
        WHEN p_value = '' THEN nullif(
            coalesce(
                nullif(
                    billing_dimension(
                        p_scope,
                        p_credential_id,
                        p_environment,
                        p_user_ref,
                        p_end_user,
                        p_team,
                        p_provider,
                        p_agent_id,
                        p_capability,
                        p_model,
                        p_sent_model,
                        p_workflow_id,
                        p_run_id,
                        p_session_id,
                        p_tag
                    ),
                    ''
                ),
                p_default
            ),
            ''
        )
        WHEN billing_meets_condition(
            p_scope,
            p_value,
            p_default,
            p_credential_id,
            p_environment,
            p_user_ref,
            p_end_user,
            p_team,
            p_provider,
            p_agent_id,
            p_capability,
            p_model,
            p_sent_model,
            p_workflow_id,
            p_run_id,
            p_session_id,
            p_tags
        ) THEN ''
    END
$$;

-- The values of several conditions as one text, of up to 255 characters (billing.limits.conditions.joined_value).
CREATE FUNCTION billing_joined_value(p_values text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN length(joined.value) > 255 THEN left(joined.value, 222) || '#' || md5(joined.value)
        ELSE joined.value
    END
    FROM (SELECT array_to_string(array_remove(p_values, ''), E'\x1f') AS value) AS joined
$$;

-- The limits with rollup rows of their own that an event, or an authorization, counts under: the scope of the rows (`#`
-- and the id of the limit), the value, and the unit of the limit.
CREATE FUNCTION billing_limit_values(
    p_organization_id bigint,
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
    p_session_id text,
    p_tags text[]
) RETURNS TABLE (
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
                p_credential_id,
                p_environment,
                p_user_ref,
                p_end_user,
                p_team,
                p_provider,
                p_agent_id,
                p_capability,
                p_model,
                p_sent_model,
                p_workflow_id,
                p_run_id,
                p_session_id,
                p_tags,
                label.tag
            ) AS first,
            billing_condition_key(
                spend_limit.compiled_conditions[4],
                spend_limit.compiled_conditions[5],
                spend_limit.compiled_conditions[6],
                p_credential_id,
                p_environment,
                p_user_ref,
                p_end_user,
                p_team,
                p_provider,
                p_agent_id,
                p_capability,
                p_model,
                p_sent_model,
                p_workflow_id,
                p_run_id,
                p_session_id,
                p_tags,
                label.tag
            ) AS second,
            billing_condition_key(
                spend_limit.compiled_conditions[7],
                spend_limit.compiled_conditions[8],
                spend_limit.compiled_conditions[9],
                p_credential_id,
                p_environment,
                p_user_ref,
                p_end_user,
                p_team,
                p_provider,
                p_agent_id,
                p_capability,
                p_model,
                p_sent_model,
                p_workflow_id,
                p_run_id,
                p_session_id,
                p_tags,
                label.tag
            ) AS third
        FROM billing_spendlimit AS spend_limit
        CROSS JOIN LATERAL unnest(
            CASE
                WHEN p_tags <> '{}' AND (
                    (spend_limit.compiled_conditions[1] = 'tag' AND spend_limit.compiled_conditions[2] = '')
                    OR (spend_limit.compiled_conditions[4] = 'tag' AND spend_limit.compiled_conditions[5] = '')
                    OR (spend_limit.compiled_conditions[7] = 'tag' AND spend_limit.compiled_conditions[8] = '')
                ) THEN p_tags
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

DROP FUNCTION billing_is_in_scope(text, text, bigint, text, text, text, text, text, text[]);
