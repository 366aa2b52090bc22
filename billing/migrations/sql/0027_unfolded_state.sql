-- The state of the organization's unfolded batches (billing/reports/rollup_reader.py): the smallest id, the number of
-- their events, the number of batches, a hash of all ids, and the version of the rollups. NULL: nothing is unfolded.
-- Equal states have the same batches.
CREATE OR REPLACE FUNCTION billing_unfolded_state(p_organization_id bigint) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT concat_ws(
            '/',
            min(batch.id::text COLLATE "C"),
            sum(batch.accepted),
            count(*),
            bit_xor(uuid_hash_extended(batch.id, 0)),
            (
                SELECT state.version
                FROM billing_ledgerstate AS state
                WHERE state.organization_id = p_organization_id
            )
        )
        FROM billing_ingestbatch AS batch
        WHERE batch.organization_id = p_organization_id
            AND batch.folded_at IS NULL
        HAVING count(*) > 0
    );
END $$;
