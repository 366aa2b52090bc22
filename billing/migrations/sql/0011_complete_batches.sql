-- Complete batches whose events are written: the runs that the events name, the authorizations that they settle, and
-- the rows of the batches with their counts (billing/ledger/write.py).
--
-- p_batches is an array of objects with columns of billing_ingestbatch. p_parents has the parent runs, by the ids of the
-- events that name them. p_refused_ids are events that were not written because their key was taken, and
-- p_refused_are_same says of each whether by the same content.
--
-- Runs are locked in the order of their ids, and then authorizations in that of theirs, so transactions that name the
-- same ones cannot deadlock. A run that does not change is not touched.

CREATE FUNCTION billing_complete_batches(
    p_organization_id bigint,
    p_batches json,
    p_parents jsonb,
    p_refused_ids uuid[],
    p_refused_are_same boolean[]
) RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    -- The events of all batches have ids between these, so partitions of other months are not opened.
    first_id uuid;
    last_id uuid;
BEGIN
    SELECT (array_agg(batch.id ORDER BY batch.id))[1], (array_agg(batch.last_event_id ORDER BY batch.id DESC))[1]
    INTO first_id, last_id
    FROM json_populate_recordset(NULL::billing_ingestbatch, p_batches) AS batch;

    -- The last value that is named counts; empty ones change nothing. Adjustments repeat the values of their event.
    WITH named AS MATERIALIZED (
        SELECT
            event.id,
            event.run_id,
            coalesce(p_parents ->> event.id::text, '') AS parent_run_id,
            event.workflow_id,
            batch.received_at
        FROM json_populate_recordset(NULL::billing_ingestbatch, p_batches) AS batch
        JOIN billing_usageevent AS event
            ON event.organization_id = p_organization_id
            AND event.id > first_id
            AND event.id <= last_id
            AND event.id > batch.id
            AND event.id <= batch.last_event_id
        WHERE event.run_id <> ''
            AND event.adjusts IS NULL
    ),
    mentioned AS (
        SELECT id, run_id, parent_run_id, workflow_id, received_at
        FROM named
        UNION ALL
        SELECT id, parent_run_id, '', '', received_at
        FROM named
        WHERE parent_run_id <> ''
    ),
    merged AS (
        SELECT
            run_id,
            coalesce(
                (array_agg(parent_run_id ORDER BY received_at DESC, id DESC) FILTER (WHERE parent_run_id <> ''))[1],
                ''
            ) AS parent_run_id,
            coalesce(
                (array_agg(workflow_id ORDER BY received_at DESC, id DESC) FILTER (WHERE workflow_id <> ''))[1],
                ''
            ) AS workflow_id,
            min(received_at) AS received_at
        FROM mentioned
        GROUP BY run_id
    )
    INSERT INTO billing_run AS run (
        organization_id,
        run_id,
        parent_run_id,
        workflow_id,
        created_at
    )
    SELECT
        p_organization_id,
        merged.run_id,
        merged.parent_run_id,
        merged.workflow_id,
        merged.received_at
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
        workflow_id = coalesce(nullif(excluded.workflow_id, ''), run.workflow_id);

    -- The first event settles the authorization; the costs of further events of the same call are added. Unknown ids
    -- are ignored, because the usage has happened.
    UPDATE billing_authorization AS reservation
    SET status = 'settled',
        settled_usd = coalesce(reservation.settled_usd, 0) + cost.usd,
        ended_at = coalesce(reservation.ended_at, cost.received_at)
    FROM (
        SELECT locked.id, named.usd, named.received_at
        FROM (
            SELECT
                event.authorization_id AS id,
                sum(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd) AS usd,
                min(batch.received_at) AS received_at
            FROM json_populate_recordset(NULL::billing_ingestbatch, p_batches) AS batch
            JOIN billing_usageevent AS event
                ON event.organization_id = p_organization_id
                AND event.id > first_id
                AND event.id <= last_id
                AND event.id > batch.id
                AND event.id <= batch.last_event_id
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
    FROM json_populate_recordset(NULL::billing_ingestbatch, p_batches) AS batch
    CROSS JOIN LATERAL (
        SELECT
            count(*) AS events,
            count(*) FILTER (WHERE event.unpriced > 0) AS unpriced,
            coalesce(sum(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd), 0) AS cost_usd
        FROM billing_usageevent AS event
        WHERE event.organization_id = p_organization_id
            AND event.id > first_id
            AND event.id <= last_id
            AND event.id > batch.id
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
