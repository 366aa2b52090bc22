-- Claim the call keys of events, and find those whose call another source has reported before (docs/ingestion.md).
--
-- p_calls is an object of arrays (billing/ledger/write.py) with an element for each key of a call, which are read several
-- times faster than an object for each call. Processes of the previous release send an array of such objects
--. The events in p_refused_ids are skipped.
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
    p_calls json,
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
    calls record;
    are_all_claimed boolean;
    call record;
    present record;
    exact_key uuid;
BEGIN
    IF json_typeof(p_calls) = 'array' THEN
        SELECT
            array_agg(event.id) AS ids,
            array_agg(event.source) AS sources,
            array_agg(named.key) AS keys,
            array_agg(event.provider) AS providers,
            array_agg(event.model) AS models,
            array_agg(event.may_repeat_calls) AS may_repeat_calls,
            array_agg(event.input_tokens) AS input_tokens,
            array_agg(event.cached_tokens) AS cached_tokens,
            array_agg(event.output_tokens) AS output_tokens,
            array_agg(event.reasoning_tokens) AS reasoning_tokens
        INTO calls
        FROM json_to_recordset(p_calls) AS event (
            id uuid,
            source text,
            keys uuid[],
            provider text,
            model text,
            may_repeat_calls boolean,
            input_tokens bigint,
            cached_tokens bigint,
            output_tokens bigint,
            reasoning_tokens bigint
        )
        CROSS JOIN LATERAL unnest(event.keys) AS named (key);
    ELSE
        SELECT given.*
        INTO calls
        FROM json_to_record(p_calls) AS given (
            ids uuid[],
            sources text[],
            keys uuid[],
            providers text[],
            models text[],
            may_repeat_calls boolean[],
            input_tokens bigint[],
            cached_tokens bigint[],
            output_tokens bigint[],
            reasoning_tokens bigint[]
        );
    END IF;

    WITH named AS (
        SELECT given.*
        FROM unnest(
            calls.ids,
            calls.sources,
            calls.keys,
            calls.providers,
            calls.models,
            calls.input_tokens,
            calls.cached_tokens,
            calls.output_tokens,
            calls.reasoning_tokens
        ) AS given (
            id,
            source,
            key,
            provider,
            model,
            input_tokens,
            cached_tokens,
            output_tokens,
            reasoning_tokens
        )
        WHERE NOT EXISTS (SELECT FROM unnest(p_refused_ids) AS refused (id) WHERE refused.id = given.id)
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
            named.provider,
            named.model,
            named.input_tokens,
            named.cached_tokens,
            named.output_tokens,
            named.reasoning_tokens
        FROM named
        ORDER BY named.key, named.id
        ON CONFLICT DO NOTHING
        RETURNING key
    )
    SELECT (SELECT count(*) FROM named) = (SELECT count(*) FROM claimed)
    INTO are_all_claimed;

    IF are_all_claimed THEN
        RETURN;
    END IF;

    FOR call IN
        SELECT
            given.id,
            given.source,
            array_agg(given.key) AS keys,
            given.provider,
            given.model,
            given.may_repeat_calls,
            given.input_tokens,
            given.cached_tokens,
            given.output_tokens,
            given.reasoning_tokens
        FROM unnest(
            calls.ids,
            calls.sources,
            calls.keys,
            calls.providers,
            calls.models,
            calls.may_repeat_calls,
            calls.input_tokens,
            calls.cached_tokens,
            calls.output_tokens,
            calls.reasoning_tokens
        ) AS given (
            id,
            source,
            key,
            provider,
            model,
            may_repeat_calls,
            input_tokens,
            cached_tokens,
            output_tokens,
            reasoning_tokens
        )
        WHERE NOT EXISTS (SELECT FROM unnest(p_refused_ids) AS refused (id) WHERE refused.id = given.id)
        GROUP BY
            given.id,
            given.source,
            given.provider,
            given.model,
            given.may_repeat_calls,
            given.input_tokens,
            given.cached_tokens,
            given.output_tokens,
            given.reasoning_tokens
        HAVING bool_or(
            EXISTS (
                SELECT
                FROM billing_callkey AS taken
                WHERE taken.organization_id = p_organization_id
                    AND taken.key = given.key
                    AND taken.event_id <> given.id
                OFFSET 0
            )
        )
        ORDER BY given.id
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
        FROM unnest(call.keys) AS named (key)
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
                AND claimed.key = ANY (call.keys)
                AND claimed.event_id = call.id;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
