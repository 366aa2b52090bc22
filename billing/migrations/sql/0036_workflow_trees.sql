-- The rollups by workflow count the runs below those of a workflow in rows of their own (docs/rollups.md). Runs that have
-- a parent are marked, so that the next fold adds these rows; until then reports add up the runs.

DROP VIEW billing_liveworkflowday, billing_liveworkflowtotal;

ALTER TABLE billing_workflowday
    ADD COLUMN is_descendant boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT billing_workflowday_pkey,
    ADD PRIMARY KEY (organization_id, workflow_id, is_descendant, day, service, cost_group, archived);
ALTER TABLE billing_workflowday ALTER COLUMN is_descendant DROP DEFAULT;

ALTER TABLE billing_workflowtotal
    ADD COLUMN is_descendant boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT billing_workflowtotal_pkey,
    ADD PRIMARY KEY (organization_id, workflow_id, is_descendant, service, cost_group, archived);
ALTER TABLE billing_workflowtotal ALTER COLUMN is_descendant DROP DEFAULT;

CREATE VIEW billing_liveworkflowday WITH (security_invoker = true) AS
SELECT
    organization_id,
    workflow_id,
    is_descendant,
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
    CAST(counted.workflow_id AS varchar(255)) AS workflow_id,
    CAST(counted.is_descendant AS boolean) AS is_descendant,
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
    AND run.run_id = event.run_id
CROSS JOIN LATERAL (
    SELECT run.folded_workflow_id AS workflow_id, false AS is_descendant
    WHERE run.folded_workflow_id <> ''
    UNION ALL
    SELECT ancestor.workflow_id, true
    FROM unnest(run.folded_ancestor_workflows) AS ancestor (workflow_id)
) AS counted
WHERE batch.folded_at IS NULL
    AND event.run_id <> '';

CREATE VIEW billing_liveworkflowtotal WITH (security_invoker = true) AS
SELECT
    organization_id,
    workflow_id,
    is_descendant,
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
    CAST(counted.workflow_id AS varchar(255)) AS workflow_id,
    CAST(counted.is_descendant AS boolean) AS is_descendant,
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
    AND run.run_id = event.run_id
CROSS JOIN LATERAL (
    SELECT run.folded_workflow_id AS workflow_id, false AS is_descendant
    WHERE run.folded_workflow_id <> ''
    UNION ALL
    SELECT ancestor.workflow_id, true
    FROM unnest(run.folded_ancestor_workflows) AS ancestor (workflow_id)
) AS counted
WHERE batch.folded_at IS NULL
    AND event.run_id <> '';

GRANT SELECT ON billing_liveworkflowday, billing_liveworkflowtotal TO costtrack_tenant;

DO $$
DECLARE
    tenant record;
BEGIN
    FOR tenant IN SELECT organization.id FROM organizations_organization AS organization
    LOOP
        UPDATE billing_run
        SET has_moved = true
        WHERE organization_id = tenant.id
            AND (parent_run_id <> '' OR workflow_id <> folded_workflow_id);
    END LOOP;
END $$;
