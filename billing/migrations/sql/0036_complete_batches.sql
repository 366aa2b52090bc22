-- Complete batches whose events are written: the runs that the events name, the authorizations that they settle, and
-- the rows of the batches with their counts (billing/ledger/write.py).
--
-- p_batches is an array of objects with columns of billing_ingestbatch, and p_parents has the parent runs, by the ids of
-- the events that name them. The other parameters are what billing_write_events has returned.
--
-- Runs are locked in the order of their ids, and then authorizations in that of theirs, so transactions that name the
-- same ones cannot deadlock. A run that does not change is not touched. One that gets another parent or workflow has moved:
-- folding will move its costs (billing/rollups/workflows.py).

CREATE OR REPLACE FUNCTION billing_complete_batches(
    p_organization_id bigint,
    p_batches json,
    p_parents jsonb,
    p_ids uuid[],
    p_run_ids text[],
    p_workflow_ids text[],
    p_authorization_ids uuid[],
    p_costs_usd numeric[],
    p_unpriced integer[],
    p_refused_ids uuid[],
    p_refused_are_same boolean[]
) RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    batches billing_ingestbatch[] := ARRAY(
        SELECT batch
        FROM json_populate_recordset(NULL::billing_ingestbatch, p_batches) AS batch
    );
    first_received_at timestamptz := (
        SELECT min(batch.received_at)
        FROM unnest(batches) AS batch
    );
BEGIN
    -- Usually nothing is new, which takes one lookup of each run.
    IF p_parents <> '{}' OR EXISTS (
        SELECT
        FROM unnest(p_run_ids, p_workflow_ids) AS event (run_id, workflow_id)
        WHERE event.run_id <> ''
            AND NOT EXISTS (
                SELECT
                FROM billing_run AS known
                WHERE known.organization_id = p_organization_id
                    AND known.run_id = event.run_id
                    AND event.workflow_id IN ('', known.workflow_id)
            )
    ) THEN
        -- The last value that is named counts; empty ones change nothing.
        WITH named AS (
            SELECT
                event.id,
                event.run_id,
                coalesce(p_parents ->> event.id::text, '') AS parent_run_id,
                event.workflow_id
            FROM unnest(p_ids, p_run_ids, p_workflow_ids) AS event (id, run_id, workflow_id)
            WHERE event.run_id <> ''
        ),
        mentioned AS (
            SELECT id, run_id, parent_run_id, workflow_id
            FROM named
            UNION ALL
            SELECT id, parent_run_id, '', ''
            FROM named
            WHERE parent_run_id <> ''
        ),
        merged AS (
            SELECT
                run_id,
                coalesce(
                    (array_agg(parent_run_id ORDER BY id DESC) FILTER (WHERE parent_run_id <> ''))[1],
                    ''
                ) AS parent_run_id,
                coalesce(
                    (array_agg(workflow_id ORDER BY id DESC) FILTER (WHERE workflow_id <> ''))[1],
                    ''
                ) AS workflow_id
            FROM mentioned
            GROUP BY run_id
        )
        INSERT INTO billing_run AS run (
            organization_id,
            run_id,
            parent_run_id,
            workflow_id,
            folded_workflow_id,
            has_moved,
            created_at
        )
        SELECT
            p_organization_id,
            merged.run_id,
            merged.parent_run_id,
            merged.workflow_id,
            merged.workflow_id,
            merged.parent_run_id <> '',
            first_received_at
        FROM merged
        WHERE NOT EXISTS (
            SELECT
            FROM billing_run AS known
            WHERE known.organization_id = p_organization_id
                AND known.run_id = merged.run_id
                AND merged.parent_run_id IN ('', known.parent_run_id)
                AND merged.workflow_id IN ('', known.workflow_id)
        )
        ORDER BY merged.run_id
        ON CONFLICT (organization_id, run_id) DO UPDATE SET
            parent_run_id = coalesce(nullif(excluded.parent_run_id, ''), run.parent_run_id),
            workflow_id = coalesce(nullif(excluded.workflow_id, ''), run.workflow_id),
            has_moved = run.has_moved
                OR excluded.parent_run_id NOT IN ('', run.parent_run_id)
                OR excluded.workflow_id NOT IN ('', run.workflow_id);
    END IF;

    IF array_remove(p_authorization_ids, NULL) <> '{}' THEN
        -- The first event settles the authorization; the costs of further events of the same call are added. Unknown ids
        -- are ignored, because the usage has happened.
        UPDATE billing_authorization AS reservation
        SET status = 'settled',
            settled_usd = coalesce(reservation.settled_usd, 0) + cost.usd,
            ended_at = coalesce(reservation.ended_at, first_received_at)
        FROM (
            SELECT locked.id, named.usd
            FROM (
                SELECT event.authorization_id AS id, sum(event.cost_usd) AS usd
                FROM unnest(p_authorization_ids, p_costs_usd) AS event (authorization_id, cost_usd)
                WHERE event.authorization_id IS NOT NULL
                GROUP BY event.authorization_id
            ) AS named
            JOIN billing_authorization AS locked
                ON locked.organization_id = p_organization_id
                AND locked.id = named.id
            ORDER BY locked.id
            FOR NO KEY UPDATE OF locked
        ) AS cost
        WHERE reservation.organization_id = p_organization_id
            AND reservation.id = cost.id;
    END IF;

    -- A batch without new events has nothing to fold. (The row of one with summaries exists already.)
    INSERT INTO billing_ingestbatch (
        id,
        organization_id,
        credential_id,
        last_event_id,
        format,
        received_at,
        accepted,
        duplicates,
        conflicts,
        rejected,
        unpriced,
        cost_usd,
        folded_at
    )
    SELECT
        batch.id,
        p_organization_id,
        batch.credential_id,
        batch.last_event_id,
        batch.format,
        batch.received_at,
        stored.events,
        refused.duplicates,
        refused.conflicts,
        batch.rejected,
        stored.unpriced,
        stored.cost_usd,
        CASE stored.events WHEN 0 THEN batch.received_at END
    FROM unnest(batches) AS batch
    CROSS JOIN LATERAL (
        SELECT
            count(*) AS events,
            count(*) FILTER (WHERE event.unpriced > 0) AS unpriced,
            coalesce(sum(event.cost_usd), 0) AS cost_usd
        FROM unnest(p_ids, p_costs_usd, p_unpriced) AS event (id, cost_usd, unpriced)
        WHERE event.id > batch.id
            AND event.id <= batch.last_event_id
    ) AS stored
    CROSS JOIN LATERAL (
        SELECT
            count(*) FILTER (WHERE event.is_same) AS duplicates,
            count(*) FILTER (WHERE NOT event.is_same) AS conflicts
        FROM unnest(p_refused_ids, p_refused_are_same) AS event (id, is_same)
        WHERE event.id > batch.id
            AND event.id <= batch.last_event_id
    ) AS refused
    ON CONFLICT (organization_id, id) DO UPDATE SET
        accepted = excluded.accepted,
        duplicates = excluded.duplicates,
        conflicts = excluded.conflicts,
        unpriced = excluded.unpriced,
        cost_usd = excluded.cost_usd,
        folded_at = excluded.folded_at;
END $$;
