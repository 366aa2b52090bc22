-- The cost of the runs of each workflow, by day and over all time (docs/rollups.md): row-level security, the live views,
-- and the rows of what is folded already, from the days of the runs.

ALTER TABLE billing_workflowday ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_workflowday_tenant ON billing_workflowday TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_workflowtotal ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_workflowtotal_tenant ON billing_workflowtotal TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

CREATE VIEW billing_liveworkflowday WITH (security_invoker = true) AS
SELECT
    organization_id,
    workflow_id,
    day,
    service,
    cost_group,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd
FROM billing_workflowday
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(run.folded_workflow_id AS varchar(255)) AS workflow_id,
    CAST((event.occurred_at AT TIME ZONE 'UTC')::date AS date) AS day,
    CAST(event.service AS varchar(255)) AS service,
    CAST(coalesce(nullif(event.cost_group, ''), event.model) AS varchar(255)) AS cost_group,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
JOIN billing_run AS run ON run.organization_id = event.organization_id
    AND run.run_id = event.run_id AND run.folded_workflow_id <> ''
WHERE batch.folded_at IS NULL
    AND event.run_id <> '';

CREATE VIEW billing_liveworkflowtotal WITH (security_invoker = true) AS
SELECT
    organization_id,
    workflow_id,
    service,
    cost_group,
    archived,
    requests,
    unpriced,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens,
    token_cost_usd,
    compute_cost_usd
FROM billing_workflowtotal
UNION ALL
SELECT
    CAST(event.organization_id AS bigint) AS organization_id,
    CAST(run.folded_workflow_id AS varchar(255)) AS workflow_id,
    CAST(event.service AS varchar(255)) AS service,
    CAST(coalesce(nullif(event.cost_group, ''), event.model) AS varchar(255)) AS cost_group,
    CAST(false AS boolean) AS archived,
    CAST(event.requests AS bigint) AS requests,
    CAST(event.unpriced AS bigint) AS unpriced,
    CAST(event.input_tokens AS bigint) AS input_tokens,
    CAST(event.output_tokens AS bigint) AS output_tokens,
    CAST(event.cache_read_tokens AS bigint) AS cache_read_tokens,
    CAST(event.cache_creation_tokens AS bigint) AS cache_creation_tokens,
    CAST(coalesce(event.token_cost_usd, 0) AS numeric(60, 24)) AS token_cost_usd,
    CAST(event.compute_cost_usd AS numeric(60, 24)) AS compute_cost_usd
FROM billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id
JOIN billing_run AS run ON run.organization_id = event.organization_id
    AND run.run_id = event.run_id AND run.folded_workflow_id <> ''
WHERE batch.folded_at IS NULL
    AND event.run_id <> '';

DO $$
DECLARE
    tenant record;
BEGIN
    FOR tenant IN SELECT organization.id FROM organizations_organization AS organization
    LOOP
        UPDATE billing_run
        SET folded_workflow_id = workflow_id
        WHERE organization_id = tenant.id
            AND workflow_id <> '';

        INSERT INTO billing_workflowday (
            organization_id,
            workflow_id,
            day,
            service,
            cost_group,
            archived,
            requests,
            unpriced,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_creation_tokens,
            token_cost_usd,
            compute_cost_usd
        )
        SELECT
            run.organization_id,
            run.workflow_id,
            run_day.day,
            run_day.service,
            run_day.cost_group,
            run_day.archived,
            sum(run_day.requests),
            sum(run_day.unpriced),
            sum(run_day.input_tokens),
            sum(run_day.output_tokens),
            sum(run_day.cache_read_tokens),
            sum(run_day.cache_creation_tokens),
            sum(run_day.token_cost_usd),
            sum(run_day.compute_cost_usd)
        FROM billing_run AS run
        JOIN billing_runday AS run_day
            ON run_day.organization_id = run.organization_id
            AND run_day.run_id = run.run_id
        WHERE run.organization_id = tenant.id
            AND run.workflow_id <> ''
        GROUP BY
            run.organization_id,
            run.workflow_id,
            run_day.day,
            run_day.service,
            run_day.cost_group,
            run_day.archived;

        INSERT INTO billing_workflowtotal (
            organization_id,
            workflow_id,
            service,
            cost_group,
            archived,
            requests,
            unpriced,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_creation_tokens,
            token_cost_usd,
            compute_cost_usd
        )
        SELECT
            run.organization_id,
            run.workflow_id,
            run_day.service,
            run_day.cost_group,
            run_day.archived,
            sum(run_day.requests),
            sum(run_day.unpriced),
            sum(run_day.input_tokens),
            sum(run_day.output_tokens),
            sum(run_day.cache_read_tokens),
            sum(run_day.cache_creation_tokens),
            sum(run_day.token_cost_usd),
            sum(run_day.compute_cost_usd)
        FROM billing_run AS run
        JOIN billing_runday AS run_day
            ON run_day.organization_id = run.organization_id
            AND run_day.run_id = run.run_id
        WHERE run.organization_id = tenant.id
            AND run.workflow_id <> ''
        GROUP BY
            run.organization_id,
            run.workflow_id,
            run_day.service,
            run_day.cost_group,
            run_day.archived;
    END LOOP;
END $$;
