-- Claim the call keys of events, and find those whose call another source has reported before (docs/ingestion.md).
--
-- p_events is an array of objects with columns of billing_usageevent, and with call_keys, call_provider, call_model and
-- may_repeat_calls (billing.ledger.types.LedgerEntry). The events in p_refused_ids are skipped.
--
-- Returns a row for each event whose keys belong to another one: is_same is true for the same call (same provider, model
-- and tokens as far as both are known), else NULL. Within a source the event ids count, unless it may repeat calls.
--
-- Most events name calls that are new: then claiming their keys is all there is to do. The keys of the others are looked
-- up one by one (OFFSET 0), because a plan that was made while the table was small would read all of it.
--
-- Keys are claimed in their order, so transactions with the same calls cannot deadlock.

CREATE OR REPLACE FUNCTION billing_match_calls(
    p_organization_id bigint,
    p_events json,
    p_refused_ids uuid[]
) RETURNS TABLE (
    matched_id uuid,
    is_same boolean,
    same_call_id uuid
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    contested_ids uuid[];
    call record;
    present record;
    exact_key uuid;
BEGIN
    WITH named AS (
        SELECT event.*, named.key
        FROM json_to_recordset(p_events) AS event (
            id uuid,
            source text,
            call_keys uuid[],
            call_provider text,
            call_model text,
            input_tokens bigint,
            cache_read_tokens bigint,
            cache_creation_tokens bigint,
            output_tokens bigint,
            reasoning_tokens bigint
        )
        CROSS JOIN LATERAL unnest(event.call_keys) AS named (key)
        WHERE NOT EXISTS (SELECT FROM unnest(p_refused_ids) AS refused (id) WHERE refused.id = event.id)
    ),
    claimed AS (
        INSERT INTO billing_callkey (
            organization_id,
            key,
            event_id,
            source,
            provider,
            model,
            input_tokens,
            cached_tokens,
            output_tokens,
            reasoning_tokens
        )
        SELECT DISTINCT ON (named.key)
            p_organization_id,
            named.key,
            named.id,
            named.source,
            coalesce(named.call_provider, ''),
            coalesce(named.call_model, ''),
            coalesce(named.input_tokens, 0),
            coalesce(named.cache_read_tokens, 0) + coalesce(named.cache_creation_tokens, 0),
            coalesce(named.output_tokens, 0),
            coalesce(named.reasoning_tokens, 0)
        FROM named
        ORDER BY named.key, named.id
        ON CONFLICT DO NOTHING
        RETURNING key, event_id
    )
    SELECT array_agg(DISTINCT named.id)
    INTO contested_ids
    FROM named
    WHERE NOT EXISTS (
        SELECT
        FROM claimed
        WHERE claimed.key = named.key
            AND claimed.event_id = named.id
    );

    IF contested_ids IS NULL THEN
        RETURN;
    END IF;

    FOR call IN
        SELECT
            event.id,
            event.source,
            event.call_keys,
            coalesce(event.call_provider, '') AS provider,
            coalesce(event.call_model, '') AS model,
            coalesce(event.may_repeat_calls, false) AS may_repeat_calls,
            coalesce(event.input_tokens, 0) AS input_tokens,
            coalesce(event.cache_read_tokens, 0) + coalesce(event.cache_creation_tokens, 0) AS cached_tokens,
            coalesce(event.output_tokens, 0) AS output_tokens,
            coalesce(event.reasoning_tokens, 0) AS reasoning_tokens
        FROM json_to_recordset(p_events) AS event (
            id uuid,
            source text,
            call_keys uuid[],
            call_provider text,
            call_model text,
            may_repeat_calls boolean,
            input_tokens bigint,
            cache_read_tokens bigint,
            cache_creation_tokens bigint,
            output_tokens bigint,
            reasoning_tokens bigint
        )
        WHERE event.id = ANY (contested_ids)
        ORDER BY event.id
    LOOP
        SELECT
            owner.*,
            (
                (owner.provider = call.provider OR '' IN (owner.provider, call.provider))
                AND (owner.model = call.model OR '' IN (owner.model, call.model))
                AND (
                    -- Of one of them no tokens are known.
                    owner.input_tokens + owner.cached_tokens + owner.output_tokens = 0
                    OR call.input_tokens + call.cached_tokens + call.output_tokens = 0
                    OR (
                        -- A source may leave the reasoning out of the output, and the caches out of the input.
                        call.output_tokens IN (
                            owner.output_tokens,
                            owner.output_tokens - owner.reasoning_tokens,
                            owner.output_tokens + call.reasoning_tokens
                        )
                        AND (
                            owner.input_tokens + owner.cached_tokens = call.input_tokens + call.cached_tokens
                            OR (owner.input_tokens = call.input_tokens AND 0 IN (owner.cached_tokens, call.cached_tokens))
                        )
                    )
                )
            ) AS is_same_call
        INTO present
        FROM unnest(call.call_keys) AS named (key)
        CROSS JOIN LATERAL (
            SELECT taken.*
            FROM billing_callkey AS taken
            WHERE taken.organization_id = p_organization_id
                AND taken.key = named.key
            OFFSET 0
        ) AS owner
        WHERE owner.event_id <> call.id
            AND (call.may_repeat_calls OR owner.source <> call.source)
        ORDER BY is_same_call DESC, owner.event_id
        LIMIT 1;
        CONTINUE WHEN NOT FOUND;

        matched_id := call.id;
        is_same := nullif(present.is_same_call, false);
        same_call_id := present.event_id;
        IF is_same IS NULL THEN
            -- Further reports of the second call are the same as it.
            exact_key := md5(concat_ws(
                ' ',
                present.key,
                call.model,
                call.input_tokens + call.cached_tokens,
                call.output_tokens
            ))::uuid;
            INSERT INTO billing_callkey (
                organization_id,
                key,
                event_id,
                source,
                provider,
                model,
                input_tokens,
                cached_tokens,
                output_tokens,
                reasoning_tokens
            )
            VALUES (
                p_organization_id,
                exact_key,
                call.id,
                call.source,
                call.provider,
                call.model,
                call.input_tokens,
                call.cached_tokens,
                call.output_tokens,
                call.reasoning_tokens
            )
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                SELECT owner.*
                INTO present
                FROM billing_callkey AS owner
                WHERE owner.organization_id = p_organization_id
                    AND owner.key = exact_key
                    AND (call.may_repeat_calls OR owner.source <> call.source);
                IF FOUND THEN
                    is_same := true;
                    same_call_id := present.event_id;
                END IF;
            END IF;
        END IF;
        IF is_same THEN
            -- Its other keys are keys of the same call.
            UPDATE billing_callkey AS claimed
            SET event_id = present.event_id,
                source = present.source,
                provider = present.provider,
                model = present.model,
                input_tokens = present.input_tokens,
                cached_tokens = present.cached_tokens,
                output_tokens = present.output_tokens,
                reasoning_tokens = present.reasoning_tokens
            WHERE claimed.organization_id = p_organization_id
                AND claimed.key = ANY (call.call_keys)
                AND claimed.event_id = call.id;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
