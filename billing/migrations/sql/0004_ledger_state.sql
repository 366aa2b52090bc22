-- Functions that tell whether what was computed from an organization's ledger is still current. Functions, because
-- PostgreSQL keeps their plans for the connection, and planning takes longer than reading.

-- Whether the organization has batches that are not folded yet (billing/reports/rollup_query.py).
CREATE FUNCTION billing_has_unfolded_batches(p_organization_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT
        FROM billing_ingestbatch
        WHERE organization_id = p_organization_id
            AND folded_at IS NULL
    );
END $$;

-- The state of the organization's ledger and prices (billing/reports/response_cache_redis.py). Every acknowledged batch
-- is among the unfolded ones, or was folded, which changed the version.
CREATE FUNCTION billing_ledger_state(p_organization_id bigint) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN concat(
        (
            SELECT version
            FROM billing_ledgerstate
            WHERE organization_id = p_organization_id
        ),
        '/',
        (
            SELECT md5(string_agg(id::text, ',' ORDER BY id))
            FROM billing_ingestbatch
            WHERE organization_id = p_organization_id
                AND folded_at IS NULL
        ),
        '/',
        (
            SELECT string_agg(revision::text, ',' ORDER BY organization_id)
            FROM billing_pricebookrevision
            WHERE organization_id = p_organization_id
                OR organization_id IS NULL
        )
    );
END $$;
