-- Append batches without session summaries to the ledger, in one statement: `billing_write_events` and
-- `billing_complete_batches`.
--
-- p_price_revisions are those of the prices that the events were priced by, of the organization and of everyone. If
-- they have changed, nothing is written. NULL: the prices do not matter.
--
-- p_calls are the calls that events name, NULL if none does (0031_match_calls.sql).
--
-- Returns a row for each event that was not written because its key was taken, and whether by the same content; a row for
-- each event whose call keys were taken (`same_call_id`), with NULL if it was written nevertheless; or one row with NULLs
-- if the prices have changed.

DROP FUNCTION billing_append_batches(bigint, bigint[], json, jsonb, json, json, uuid[], uuid[], bigint[], boolean);

CREATE FUNCTION billing_append_batches(
    p_organization_id bigint,
    p_price_revisions bigint[],
    p_batches json,
    p_parents jsonb,
    p_defaults json,
    p_events json,
    p_ids uuid[],
    p_keys uuid[],
    p_payload_hashes bigint[],
    p_calls json
) RETURNS TABLE (
    refused_id uuid,
    is_same boolean,
    same_call_id uuid
)
LANGUAGE plpgsql AS $$
DECLARE
    written record;
BEGIN
    IF p_price_revisions <> billing_price_revisions(p_organization_id) THEN
        RETURN QUERY SELECT NULL::uuid, NULL::boolean, NULL::uuid;
        RETURN;
    END IF;

    SELECT *
    INTO written
    FROM billing_write_events(
        p_organization_id,
        p_defaults,
        p_events,
        p_ids,
        p_keys,
        p_payload_hashes,
        p_calls
    );

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
        written.refused_ids || ARRAY(
            SELECT matched.id
            FROM unnest(written.matched_ids, written.matched_are_same) AS matched (id, is_same)
            WHERE matched.is_same
        ),
        written.refused_are_same || ARRAY(
            SELECT true
            FROM unnest(written.matched_are_same) AS matched (is_same)
            WHERE matched.is_same
        )
    );

    RETURN QUERY
    SELECT refused.id, refused.is_same, NULL::uuid
    FROM unnest(written.refused_ids, written.refused_are_same) AS refused (id, is_same)
    UNION ALL
    SELECT matched.id, matched.is_same, matched.same_call_id
    FROM unnest(written.matched_ids, written.matched_are_same, written.matched_event_ids)
        AS matched (id, is_same, same_call_id);
END $$;
