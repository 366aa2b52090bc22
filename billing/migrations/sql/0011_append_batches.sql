-- The revisions of the organization's prices and of everyone's; 0 without any.
CREATE FUNCTION billing_price_revisions(p_organization_id bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY[
        coalesce(
            (
                SELECT revision
                FROM billing_pricebookrevision
                WHERE organization_id = p_organization_id
            ),
            0
        ),
        coalesce(
            (
                SELECT revision
                FROM billing_pricebookrevision
                WHERE organization_id IS NULL
            ),
            0
        )
    ];
END $$;

-- Append batches without session summaries to the ledger, in one statement: `billing_write_events` and
-- `billing_complete_batches`.
--
-- p_price_revisions are those of the prices that the events were priced by, of the organization and of everyone. If
-- they have changed, nothing is written. NULL: the prices do not matter.
--
-- Returns a row for each event that was not written because its key was taken, and whether by the same content; or one
-- row with NULLs if the prices have changed.

CREATE FUNCTION billing_append_batches(
    p_organization_id bigint,
    p_price_revisions bigint[],
    p_batches json,
    p_parents jsonb,
    p_defaults json,
    p_events json,
    p_ids uuid[],
    p_keys uuid[],
    p_payload_hashes bigint[]
) RETURNS TABLE (
    refused_id uuid,
    is_same boolean
)
LANGUAGE plpgsql AS $$
DECLARE
    written record;
BEGIN
    IF p_price_revisions <> billing_price_revisions(p_organization_id) THEN
        RETURN QUERY SELECT NULL::uuid, NULL::boolean;
        RETURN;
    END IF;

    SELECT *
    INTO written
    FROM billing_write_events(p_organization_id, p_defaults, p_events, p_ids, p_keys, p_payload_hashes);

    PERFORM billing_complete_batches(
        p_organization_id,
        p_batches,
        p_parents,
        written.ids,
        written.run_ids,
        written.workflow_ids,
        written.authorization_ids,
        written.costs_usd,
        written.unpriced,
        written.refused_ids,
        written.refused_are_same
    );

    RETURN QUERY
    SELECT refused.id, refused.is_same
    FROM unnest(written.refused_ids, written.refused_are_same) AS refused (id, is_same);
END $$;
