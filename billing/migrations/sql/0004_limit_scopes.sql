-- Two expressions that the functions of limits share. PostgreSQL inlines them, so they cost no call.

-- Whether an event, or an authorization, counts under a limit of this scope and value (billing.types.LimitScope).
CREATE FUNCTION billing_is_in_scope(
    p_scope text,
    p_value text,
    p_credential_id bigint,
    p_user_ref text,
    p_model text,
    p_workflow_id text,
    p_run_id text,
    p_session_id text,
    p_tags text[]
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_scope
        WHEN 'organization' THEN true
        WHEN 'credential' THEN p_credential_id::text = p_value
        WHEN 'user' THEN p_user_ref = p_value
        WHEN 'model' THEN p_model = p_value
        WHEN 'workflow' THEN p_workflow_id = p_value
        WHEN 'run' THEN p_run_id = p_value
        WHEN 'session' THEN p_session_id = p_value
        WHEN 'tag' THEN p_value = ANY (p_tags)
    END
$$;

-- The first full hour of a window that begins at p_start: rollups have full hours. NULL: the window has no beginning.
CREATE FUNCTION billing_first_full_hour(p_start timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT date_trunc('hour', p_start + interval '1 hour' - interval '1 microsecond', 'UTC')
$$;
