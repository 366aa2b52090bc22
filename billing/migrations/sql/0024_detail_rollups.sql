-- Usage by all dimensions of reports, by hour and day (docs/rollups.md): row-level security, the live views, and the rows of
-- what is folded already, from the ledger. Dropped events are in the rows of other rollups only.

ALTER TABLE billing_detailhour ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_detailhour_tenant ON billing_detailhour TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_detailday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_detailday_tenant ON billing_detailday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

CREATE VIEW billing_livedetailhour WITH (security_invoker = true) AS
SELECT
    organization_id,
    hour,
    key,
    status,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd,
    credential_id,
    capability,
    provider,
    service,
    model,
    agent_id,
    environment,
    user_ref,
    team,
    end_user
FROM billing_detailhour
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(date_trunc('hour', event.occurred_at, 'UTC') AS timestamp with time zone) AS hour,
    CAST(md5(ROW(
        coalesce(event.credential_id, 0), event.capability, event.provider, event.service, event.model,
        event.agent_id, event.environment, event.user_ref, event.team, event.end_user
    )::text)::uuid AS uuid) AS key,
    CAST(event.status AS varchar(8)) AS status,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(coalesce(event.credential_id, 0) AS bigint) AS credential_id,
    CAST(event.capability AS varchar(255)) AS capability,
    CAST(event.provider AS varchar(255)) AS provider,
    CAST(event.service AS varchar(255)) AS service,
    CAST(event.model AS varchar(255)) AS model,
    CAST(event.agent_id AS varchar(255)) AS agent_id,
    CAST(event.environment AS varchar(255)) AS environment,
    CAST(event.user_ref AS varchar(255)) AS user_ref,
    CAST(event.team AS varchar(255)) AS team,
    CAST(event.end_user AS varchar(255)) AS end_user
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL;

CREATE VIEW billing_livedetailday WITH (security_invoker = true) AS
SELECT
    organization_id,
    day,
    key,
    status,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd,
    credential_id,
    capability,
    provider,
    service,
    model,
    agent_id,
    environment,
    user_ref,
    team,
    end_user
FROM billing_detailday
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST((event.occurred_at AT TIME ZONE 'UTC')::date AS date) AS day,
    CAST(md5(ROW(
        coalesce(event.credential_id, 0), event.capability, event.provider, event.service, event.model,
        event.agent_id, event.environment, event.user_ref, event.team, event.end_user
    )::text)::uuid AS uuid) AS key,
    CAST(event.status AS varchar(8)) AS status,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd,
    CAST(coalesce(event.credential_id, 0) AS bigint) AS credential_id,
    CAST(event.capability AS varchar(255)) AS capability,
    CAST(event.provider AS varchar(255)) AS provider,
    CAST(event.service AS varchar(255)) AS service,
    CAST(event.model AS varchar(255)) AS model,
    CAST(event.agent_id AS varchar(255)) AS agent_id,
    CAST(event.environment AS varchar(255)) AS environment,
    CAST(event.user_ref AS varchar(255)) AS user_ref,
    CAST(event.team AS varchar(255)) AS team,
    CAST(event.end_user AS varchar(255)) AS end_user
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
WHERE batch.folded_at IS NULL;

DO $$
DECLARE
    tenant record;
BEGIN
    FOR tenant IN SELECT id FROM organizations_organization LOOP
        INSERT INTO billing_detailhour (
            organization_id,
            hour,
            key,
            status,
            archived,
            requests,
            unpriced,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_creation_tokens,
            token_cost_usd,
            compute_cost_usd,
            credential_id,
            capability,
            provider,
            service,
            model,
            agent_id,
            environment,
            user_ref,
            team,
            end_user
        )
        SELECT
            event.organization_id,
            date_trunc('hour', event.occurred_at, 'UTC') AS bucket,
            md5(ROW(
                coalesce(event.credential_id, 0), event.capability, event.provider, event.service, event.model,
                event.agent_id, event.environment, event.user_ref, event.team, event.end_user
            )::text)::uuid AS key,
            event.status,
            false,
            sum(event.requests),
            sum(event.unpriced),
            sum(event.input_tokens),
            sum(event.output_tokens),
            sum(event.cache_read_tokens),
            sum(event.cache_creation_tokens),
            sum(coalesce(event.token_cost_usd, 0)),
            sum(event.compute_cost_usd),
            max(coalesce(event.credential_id, 0)),
            max(event.capability),
            max(event.provider),
            max(event.service),
            max(event.model),
            max(event.agent_id),
            max(event.environment),
            max(event.user_ref),
            max(event.team),
            max(event.end_user)
        FROM billing_usageevent AS event
        WHERE event.organization_id = tenant.id
            AND substring(uuid_send(event.id), 1, 14) NOT IN (
                SELECT substring(uuid_send(batch.id), 1, 14)
                FROM billing_ingestbatch AS batch
                WHERE batch.organization_id = tenant.id
                    AND batch.folded_at IS NULL
            )
        GROUP BY event.organization_id, bucket, key, event.status;

        INSERT INTO billing_detailday (
            organization_id,
            day,
            key,
            status,
            archived,
            requests,
            unpriced,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_creation_tokens,
            token_cost_usd,
            compute_cost_usd,
            credential_id,
            capability,
            provider,
            service,
            model,
            agent_id,
            environment,
            user_ref,
            team,
            end_user
        )
        SELECT
            hour_row.organization_id,
            (hour_row.hour AT TIME ZONE 'UTC')::date AS bucket,
            hour_row.key,
            hour_row.status,
            hour_row.archived,
            sum(hour_row.requests),
            sum(hour_row.unpriced),
            sum(hour_row.input_tokens),
            sum(hour_row.output_tokens),
            sum(hour_row.cache_read_tokens),
            sum(hour_row.cache_creation_tokens),
            sum(hour_row.token_cost_usd),
            sum(hour_row.compute_cost_usd),
            max(hour_row.credential_id),
            max(hour_row.capability),
            max(hour_row.provider),
            max(hour_row.service),
            max(hour_row.model),
            max(hour_row.agent_id),
            max(hour_row.environment),
            max(hour_row.user_ref),
            max(hour_row.team),
            max(hour_row.end_user)
        FROM billing_detailhour AS hour_row
        WHERE hour_row.organization_id = tenant.id
        GROUP BY hour_row.organization_id, bucket, hour_row.key, hour_row.status, hour_row.archived;
    END LOOP;
END $$;
