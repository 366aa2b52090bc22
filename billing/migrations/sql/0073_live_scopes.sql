-- Live views of the rollups of limits, again: an event also counts under its team.
--
-- A live view has the rows of its rollup and a row for each event that is not folded yet, so it may have several rows
-- for one key: always sum them. Amounts are in US dollars, or in the unit of the limit; hours are UTC. Both halves have
-- exactly the table's types, so that PostgreSQL applies a query's conditions to each of them.

CREATE OR REPLACE VIEW billing_livescopehour WITH (security_invoker = true) AS
SELECT
    organization_id,
    scope,
    value,
    hour,
    archived,
    requests,
    unpriced,
    cost_usd,
    charged_usd,
    last_received_at
FROM billing_scopehour
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(event_scope.scope AS varchar(16)) AS scope,
    CAST(event_scope.value AS varchar(255)) AS value,
    CAST(date_trunc('hour', event.occurred_at, 'UTC') AS timestamp with time zone) AS hour,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(billing_in_unit(event_scope.unit, coalesce(event.token_cost_usd, 0) + event.compute_cost_usd, event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens, event.requests) AS numeric(60, 24)) AS cost_usd,
    CAST(greatest(billing_in_unit(event_scope.unit, coalesce(event.token_cost_usd, 0) + event.compute_cost_usd, event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens, event.requests), 0) AS numeric(60, 24)) AS charged_usd,
    CAST(event.received_at AS timestamp with time zone) AS last_received_at
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
CROSS JOIN LATERAL (
    SELECT 'organization' AS scope, '' AS value, 'usd' AS unit
    UNION ALL
    SELECT scope, value, 'usd'
    FROM (VALUES
        ('credential', coalesce(event.credential_id::text, '')),
        ('user', event.user_ref),
        ('team', event.team),
        ('model', event.model),
        ('workflow', event.workflow_id),
        ('run', event.run_id),
        ('session', event.session_id)
    ) AS named (scope, value)
    WHERE value <> ''
    UNION ALL
    SELECT 'tag', tag, 'usd'
    FROM unnest(event.tags) AS label (tag)
    WHERE tag <> ''
    UNION ALL
    SELECT scope, value, unit
    FROM billing_limit_values(
        event.organization_id,
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
        ),
        event.tags
    )
) AS event_scope
WHERE batch.folded_at IS NULL;

CREATE OR REPLACE VIEW billing_livescopetotal WITH (security_invoker = true) AS
SELECT
    organization_id,
    value,
    scope,
    archived,
    requests,
    unpriced,
    cost_usd,
    charged_usd,
    last_received_at
FROM billing_scopetotal
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(event_scope.value AS varchar(255)) AS value,
    CAST(event_scope.scope AS varchar(16)) AS scope,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(billing_in_unit(event_scope.unit, coalesce(event.token_cost_usd, 0) + event.compute_cost_usd, event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens, event.requests) AS numeric(60, 24)) AS cost_usd,
    CAST(greatest(billing_in_unit(event_scope.unit, coalesce(event.token_cost_usd, 0) + event.compute_cost_usd, event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens, event.requests), 0) AS numeric(60, 24)) AS charged_usd,
    CAST(event.received_at AS timestamp with time zone) AS last_received_at
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
CROSS JOIN LATERAL (
    SELECT 'organization' AS scope, '' AS value, 'usd' AS unit
    UNION ALL
    SELECT scope, value, 'usd'
    FROM (VALUES
        ('credential', coalesce(event.credential_id::text, '')),
        ('user', event.user_ref),
        ('team', event.team),
        ('model', event.model),
        ('workflow', event.workflow_id),
        ('run', event.run_id),
        ('session', event.session_id)
    ) AS named (scope, value)
    WHERE value <> ''
    UNION ALL
    SELECT 'tag', tag, 'usd'
    FROM unnest(event.tags) AS label (tag)
    WHERE tag <> ''
    UNION ALL
    SELECT scope, value, unit
    FROM billing_limit_values(
        event.organization_id,
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
        ),
        event.tags
    )
) AS event_scope
WHERE batch.folded_at IS NULL;
