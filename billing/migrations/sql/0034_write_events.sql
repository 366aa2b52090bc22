-- Write events whose keys are new, and queue those without a price (billing/ledger/write.py). An adjustment that moves an
-- unpriced event to other dimensions is not queued, because its event is.
--
-- p_events is an array of objects with columns of billing_usageevent; p_defaults has the columns that an event leaves
-- out. p_ids, p_keys and p_payload_hashes are those of the events with a key, in the order of the events: of several
-- with one key the first counts.
--
-- Returns what was written, as arrays with an element for each event (an adjustment repeats the run of its event, so it
-- has none here), and the events with a key that were not written, because the key was taken: by the same content, or by
-- another.
--
-- p_calls are the calls that events name, NULL if none does. What billing_match_calls finds is returned in the matched
-- arrays: the same calls are not written (their keys are those of the event of the call), and possible duplicates have a
-- flag.
--
-- Keys that are taken are looked up and changed one by one, because a plan that was made while the table was small would
-- read all of it.
--
-- Keys are claimed in their order, so transactions with the same events cannot deadlock.

CREATE OR REPLACE FUNCTION billing_write_events(
    p_organization_id bigint,
    p_defaults json,
    p_events json,
    p_ids uuid[],
    p_keys uuid[],
    p_payload_hashes bigint[],
    p_calls json
) RETURNS TABLE (
    ids uuid[],
    run_ids text[],
    workflow_ids text[],
    authorization_ids uuid[],
    costs_usd numeric[],
    unpriced integer[],
    refused_ids uuid[],
    refused_are_same boolean[],
    matched_ids uuid[],
    matched_are_same boolean[],
    matched_event_ids uuid[]
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    claimed_ids uuid[];
    unwritten_ids uuid[];
    possible_ids uuid[];
    repeated record;
BEGIN
    refused_ids := '{}';
    refused_are_same := '{}';

    WITH claimed AS (
        INSERT INTO billing_eventkey (
            organization_id,
            key,
            event_id,
            payload_hash
        )
        SELECT DISTINCT ON (named.key)
            p_organization_id,
            named.key,
            named.event_id,
            named.payload_hash
        FROM unnest(p_ids, p_keys, p_payload_hashes)
            WITH ORDINALITY AS named (event_id, key, payload_hash, ordinal)
        ORDER BY named.key, named.ordinal
        ON CONFLICT DO NOTHING
        RETURNING event_id
    )
    SELECT array_agg(event_id)
    INTO claimed_ids
    FROM claimed;

    IF coalesce(cardinality(claimed_ids), 0) < cardinality(p_ids) THEN
        refused_ids := ARRAY(SELECT unnest(p_ids) EXCEPT SELECT unnest(claimed_ids));
    END IF;
    unwritten_ids := refused_ids;

    IF p_calls IS NOT NULL THEN
        SELECT
            array_agg(matched.matched_id),
            array_agg(matched.is_same),
            array_agg(matched.same_call_id),
            array_agg(matched.matched_id) FILTER (WHERE matched.is_same),
            array_agg(matched.matched_id) FILTER (WHERE matched.is_same IS NULL)
        INTO matched_ids, matched_are_same, matched_event_ids, unwritten_ids, possible_ids
        FROM billing_match_calls(p_organization_id, p_calls, refused_ids) AS matched;

        FOR repeated IN
            SELECT
                named.key,
                named.event_id,
                matched.same_call_id
            FROM unnest(p_ids, p_keys) AS named (event_id, key)
            JOIN unnest(matched_ids, matched_are_same, matched_event_ids) AS matched (id, is_same, same_call_id)
                ON matched.id = named.event_id
            WHERE matched.is_same
        LOOP
            UPDATE billing_eventkey AS claimed
            SET event_id = repeated.same_call_id
            WHERE claimed.organization_id = p_organization_id
                AND claimed.key = repeated.key
                AND claimed.event_id = repeated.event_id;
        END LOOP;

        unwritten_ids := refused_ids || coalesce(unwritten_ids, '{}');
    END IF;

    IF possible_ids <> '{}' THEN
        p_events := (
            SELECT json_agg(
                CASE
                    WHEN (event.value ->> 'id')::uuid = ANY (possible_ids)
                        THEN (event.value::jsonb || jsonb_build_object(
                            'flags',
                            coalesce(event.value::jsonb -> 'flags', '[]') || jsonb_build_object(
                                'code',
                                'possible_duplicate',
                                'detail',
                                matched_event_ids[array_position(matched_ids, (event.value ->> 'id')::uuid)]
                            )
                        ))::json
                    ELSE event.value
                END
            )
            FROM json_array_elements(p_events) AS event (value)
        );
    END IF;

    WITH stored AS (
        INSERT INTO billing_usageevent
        SELECT event.*
        FROM json_populate_recordset(json_populate_record(NULL::billing_usageevent, p_defaults), p_events) AS event
        WHERE NOT EXISTS (SELECT FROM unnest(unwritten_ids) AS refused (id) WHERE refused.id = event.id)
        RETURNING
            id,
            CASE WHEN adjusts IS NULL OR metadata #>> '{correction,kind}' = 'merged' THEN run_id ELSE '' END AS run_id,
            workflow_id,
            authorization_id,
            coalesce(token_cost_usd, 0) + compute_cost_usd AS cost_usd,
            CASE WHEN adjusts IS NULL THEN unpriced ELSE 0 END AS unpriced,
            service,
            model,
            occurred_at,
            unpriced_reason
    ),
    queued AS (
        INSERT INTO billing_unpricedevent (
            event_id,
            organization_id,
            service,
            model,
            occurred_at,
            reason
        )
        SELECT
            stored.id,
            p_organization_id,
            stored.service,
            stored.model,
            stored.occurred_at,
            stored.unpriced_reason
        FROM stored
        WHERE stored.unpriced > 0
    )
    SELECT
        array_agg(stored.id),
        array_agg(stored.run_id),
        array_agg(stored.workflow_id),
        array_agg(stored.authorization_id),
        array_agg(stored.cost_usd),
        array_agg(stored.unpriced)
    INTO ids, run_ids, workflow_ids, authorization_ids, costs_usd, unpriced
    FROM stored;

    IF refused_ids <> '{}' THEN
        SELECT array_agg(named.event_id), array_agg(present.payload_hash = named.payload_hash)
        INTO refused_ids, refused_are_same
        FROM unnest(p_ids, p_keys, p_payload_hashes) AS named (event_id, key, payload_hash)
        CROSS JOIN LATERAL (
            SELECT
                taken.event_id,
                taken.payload_hash
            FROM billing_eventkey AS taken
            WHERE taken.organization_id = p_organization_id
                AND taken.key = named.key
            OFFSET 0
        ) AS present
        WHERE present.event_id <> named.event_id
            AND (matched_ids IS NULL OR named.event_id <> ALL (matched_ids));
    END IF;

    RETURN NEXT;
END $$;
