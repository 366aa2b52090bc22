-- The runs that the rollups by workflow still count where they were folded, because they have moved since
-- (billing/rollups/workflows.py): those whose costs a report of a workflow adds, or those whose costs it subtracts.
-- With descendants, a run that has moved takes all runs below along.
--
-- The planner expects a recursion to return very many rows. So children are looked up behind OFFSET 0, and the memory is
-- small: PostgreSQL allocates hash tables of the expected size before it starts.

CREATE FUNCTION billing_moved_runs(
    p_organization_id bigint,
    p_workflow_id text,
    p_with_descendants boolean,
    p_are_added boolean
) RETURNS text[]
LANGUAGE plpgsql
STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET work_mem = '256kB'
AS $$
BEGIN
    -- Usually none has.
    IF NOT EXISTS (
        SELECT
        FROM billing_run
        WHERE organization_id = p_organization_id
            AND (has_moved OR folded_ancestor_workflows IS NULL)
    ) THEN
        RETURN '{}';
    END IF;

    IF NOT p_with_descendants THEN
        RETURN ARRAY(
            SELECT run_id
            FROM billing_run
            WHERE organization_id = p_organization_id
                AND has_moved
                AND (workflow_id = p_workflow_id) = p_are_added
                AND (folded_workflow_id = p_workflow_id) <> p_are_added
        );
    END IF;

    RETURN ARRAY(
        -- UNION (not UNION ALL) ends cycles.
        WITH RECURSIVE moved AS (
            SELECT run_id, parent_run_id, workflow_id, folded_workflow_id, folded_ancestor_workflows
            FROM billing_run
            WHERE organization_id = p_organization_id
                AND (has_moved OR folded_ancestor_workflows IS NULL)
            UNION
            SELECT child.*
            FROM moved
            CROSS JOIN LATERAL (
                SELECT run_id, parent_run_id, workflow_id, folded_workflow_id, folded_ancestor_workflows
                FROM billing_run
                WHERE organization_id = p_organization_id
                    AND parent_run_id = moved.run_id
                    AND parent_run_id <> ''
                OFFSET 0
            ) AS child
        ),
        -- Those of them that descend from a run of the workflow now.
        below (run_id) AS (
            SELECT moved.run_id
            FROM moved
            CROSS JOIN LATERAL (
                SELECT run_id, workflow_id, folded_ancestor_workflows
                FROM billing_run
                WHERE organization_id = p_organization_id
                    AND run_id = moved.parent_run_id
                OFFSET 0
            ) AS parent
            LEFT JOIN moved AS moved_parent
                ON moved_parent.run_id = parent.run_id
            WHERE parent.workflow_id = p_workflow_id
                OR (moved_parent.run_id IS NULL AND p_workflow_id = ANY (parent.folded_ancestor_workflows))
            UNION
            SELECT child.run_id
            FROM below
            JOIN moved AS child
                ON child.parent_run_id = below.run_id
        )
        SELECT moved.run_id
        FROM moved
        LEFT JOIN below
            ON below.run_id = moved.run_id
        WHERE (moved.workflow_id = p_workflow_id OR below.run_id IS NOT NULL) = p_are_added
            AND (
                moved.folded_workflow_id = p_workflow_id
                OR coalesce(p_workflow_id = ANY (moved.folded_ancestor_workflows), false)
            ) <> p_are_added
    );
END $$;
