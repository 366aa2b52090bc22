"""Spend limits, as PostgreSQL's functions: what is spent and held, at once and in detail, and a reservation."""

from django.db import migrations

OPEN = "held.organization_id = wanted AND held.status = 'reserved' AND held.expires_at > moment"
COST = "(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd)"
TOKENS = "(event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens)"
COLUMNS = """row.token_cost_usd, row.compute_cost_usd, row.unpriced, row.occurred_at, row.credential_id, row.user_ref,
    row.model, row.workflow_id, row.run_id, row.session_id, row.tags"""


# When a row (of the ledger, or an authorization) belongs to what is measured.
MATCHES = {
    "organization": "true",
    "credential": "{row}.credential_id::text = measured.value",
    "user": "{row}.user_ref = measured.value",
    "model": "{row}.model = measured.value",
    "workflow": "{row}.workflow_id = measured.value",
    "run": "{row}.run_id = measured.value",
    "session": "{row}.session_id = measured.value",
    "tag": "measured.value = ANY({row}.tags)",
}


def by_scope(expressions: dict[str, str]) -> str:
    cases = " ".join(f"WHEN '{scope}' THEN {expression}" for scope, expression in expressions.items())
    return f"CASE measured.scope {cases} END"


def matches(row: str) -> str:
    return by_scope({scope: condition.format(row=row) for scope, condition in MATCHES.items()})


def held() -> str:
    """A question for each scope, because with hundreds of open reservations it is their rows that take the time."""
    question = f"(SELECT sum(held.amount_usd) FROM billing_authorization AS held WHERE {OPEN} AND {{condition}})"
    conditions = {scope: condition.format(row="held") for scope, condition in MATCHES.items()}
    return by_scope({scope: question.format(condition=condition) for scope, condition in conditions.items()})


# For each of some scopes with its value: what was spent from an instant on (NULL: ever), and what is held at `moment`.
# The rollups have whole hours; of the hour in which the window begins, `edge` says what it can have cost at most.
# Reading one snapshot, it sees an event together with the end of the authorization that it settled, or neither.
# `fallbacks` price the events that have no price, in USD per million tokens (NULL: they count nothing).
#
# Planning a question to the ledger, with its many partitions, takes longer than asking it: plans are kept (so they must
# not be those of tables that were still small), and the ledger is left alone where there is nothing to ask it.
MEASURED = (
    """unnest(scopes, "values", starts, fallbacks) """
    "WITH ORDINALITY AS measured (scope, value, start, fallback, place)"
)
FIRST_HOUR = "date_trunc('hour', measured.start + interval '1 hour' - interval '1 microsecond', 'UTC')"
FIRST_BATCH = """SELECT batch.id INTO first_batch FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = wanted AND batch.folded_at IS NULL ORDER BY batch.id LIMIT 1;"""
TAIL = f"""tail AS MATERIALIZED (
            SELECT event.* FROM billing_ingestbatch AS batch CROSS JOIN LATERAL (
                SELECT {COLUMNS} FROM billing_usageevent AS row
                WHERE row.organization_id = wanted AND row.id > first_batch
                    AND row.id > batch.id AND row.id <= batch.last_event_id
                OFFSET 0
            ) AS event
            WHERE batch.organization_id = wanted AND batch.folded_at IS NULL
        )"""
HAS_FALLBACK = "EXISTS (SELECT FROM unnest(fallbacks) AS told (price) WHERE told.price > 0)"
METER = f"""
CREATE FUNCTION billing_meter(
    wanted bigint, scopes text[], "values" text[], starts timestamptz[], fallbacks numeric[], moment timestamptz
) RETURNS TABLE (place bigint, spent numeric, edge numeric, held numeric) LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    first_batch uuid;
    not_folded numeric[];
    not_priced numeric[];
BEGIN
    {FIRST_BATCH}
    IF first_batch IS NOT NULL THEN
        WITH {TAIL}
        SELECT array_agg(coalesce(sums.usd, 0) ORDER BY measured.place) INTO not_folded
        FROM {MEASURED} CROSS JOIN LATERAL (
            SELECT sum({COST}) AS usd FROM tail AS event
            WHERE (measured.start IS NULL OR event.occurred_at >= measured.start) AND {matches("event")}
        ) AS sums;
    END IF;
    IF {HAS_FALLBACK} THEN
        SELECT array_agg(coalesce(sums.tokens * measured.fallback / 1000000, 0) ORDER BY measured.place) INTO not_priced
        FROM {MEASURED} CROSS JOIN LATERAL (
            SELECT sum({TOKENS}) AS tokens
            FROM billing_unpricedevent AS waiting
            JOIN billing_usageevent AS event ON event.organization_id = wanted AND event.id = waiting.event_id
            WHERE waiting.organization_id = wanted AND measured.fallback > 0 AND {matches("event")}
                AND (measured.start IS NULL OR event.occurred_at >= measured.start)
        ) AS sums;
    END IF;
    RETURN QUERY
    SELECT measured.place,
        coalesce(CASE WHEN measured.start IS NULL THEN (
            SELECT sum(kept.cost_usd) FROM billing_scopetotal AS kept
            WHERE kept.organization_id = wanted AND kept.scope = measured.scope AND kept.value = measured.value
        ) ELSE (
            SELECT sum(kept.cost_usd) FROM billing_scopehour AS kept
            WHERE kept.organization_id = wanted AND kept.scope = measured.scope AND kept.value = measured.value
                AND kept.hour >= {FIRST_HOUR}
        ) END, 0) + coalesce(not_folded[measured.place], 0) + coalesce(not_priced[measured.place], 0),
        coalesce(CASE WHEN {FIRST_HOUR} > measured.start THEN (
            SELECT sum(kept.charged_usd) FROM billing_scopehour AS kept
            WHERE kept.organization_id = wanted AND kept.scope = measured.scope AND kept.value = measured.value
                AND kept.hour = {FIRST_HOUR} - interval '1 hour'
        ) END, 0),
        coalesce({held()}, 0)
    FROM {MEASURED} ORDER BY measured.place;
END $$
"""

# The same in detail, in rows: spend between two instants (each unfolded event, and each of the hour in which a window
# begins, at its own instant; otherwise hours), and each reservation with its end. `unpriced` is how many events have no
# price. Of windows without a start: the hours from `recent` on, and all before together.
# `first_ids` bound the ledger's ids from below, so that older partitions are not looked at.
#
# Windows mostly begin at the same instant, and the events of that hour are read once for all of them.
READINGS = f"""
CREATE FUNCTION billing_readings(
    wanted bigint, scopes text[], "values" text[], starts timestamptz[], fallbacks numeric[], moment timestamptz,
    recent timestamptz, first_ids uuid[]
) RETURNS TABLE (place bigint, kind text, begins timestamptz, ends timestamptz, usd numeric, unpriced bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    first_batch uuid;
BEGIN
    {FIRST_BATCH}
    IF first_batch IS NOT NULL THEN
        RETURN QUERY
        WITH {TAIL}
        SELECT measured.place, 'spend', event.occurred_at, event.occurred_at, {COST}, event.unpriced::bigint
        FROM {MEASURED} JOIN tail AS event ON {matches("event")}
            AND (measured.start IS NULL OR event.occurred_at >= {FIRST_HOUR});
    END IF;
    IF EXISTS (SELECT FROM {MEASURED} WHERE {FIRST_HOUR} > measured.start) THEN
        RETURN QUERY
        WITH edge AS MATERIALIZED (
            SELECT started.start, event.* FROM (
                SELECT DISTINCT measured.start, first_ids[measured.place] AS first_id, {FIRST_HOUR} AS first_hour
                FROM {MEASURED} WHERE {FIRST_HOUR} > measured.start
            ) AS started CROSS JOIN LATERAL (
                SELECT {COLUMNS} FROM billing_usageevent AS row
                WHERE row.organization_id = wanted AND row.id >= started.first_id
                    AND row.occurred_at >= started.start AND row.occurred_at < started.first_hour
                OFFSET 0
            ) AS event
        )
        SELECT measured.place, 'spend', event.occurred_at, event.occurred_at, sum({COST}), sum(event.unpriced)::bigint
        FROM {MEASURED} JOIN edge AS event ON event.start = measured.start AND {matches("event")}
        GROUP BY measured.place, event.occurred_at;
    END IF;
    IF {HAS_FALLBACK} THEN
        RETURN QUERY
        SELECT measured.place, 'spend', event.occurred_at, event.occurred_at,
            {TOKENS} * measured.fallback / 1000000, 0::bigint
        FROM {MEASURED} CROSS JOIN billing_unpricedevent AS waiting
        JOIN billing_usageevent AS event ON event.organization_id = wanted AND event.id = waiting.event_id
        WHERE waiting.organization_id = wanted AND measured.fallback > 0 AND {matches("event")}
            AND (measured.start IS NULL OR event.occurred_at >= measured.start);
    END IF;
    IF EXISTS (SELECT FROM unnest(starts) AS told (start) WHERE told.start IS NULL) THEN
        RETURN QUERY
        SELECT measured.place, 'spend', '-infinity'::timestamptz, '-infinity'::timestamptz,
            sum(total.cost_usd) - coalesce((
                SELECT sum(kept.cost_usd) FROM billing_scopehour AS kept
                WHERE kept.organization_id = wanted AND kept.scope = measured.scope AND kept.value = measured.value
                    AND kept.hour >= recent
            ), 0), sum(total.unpriced)::bigint
        FROM {MEASURED} JOIN billing_scopetotal AS total
            ON total.organization_id = wanted AND total.scope = measured.scope AND total.value = measured.value
        WHERE measured.start IS NULL GROUP BY measured.place, measured.scope, measured.value;
    END IF;
    RETURN QUERY
    SELECT measured.place, 'spend', kept.hour, kept.hour + interval '1 hour', sum(kept.cost_usd),
        CASE WHEN measured.start IS NULL THEN 0 ELSE sum(kept.unpriced) END::bigint
    FROM {MEASURED} JOIN billing_scopehour AS kept
        ON kept.organization_id = wanted AND kept.scope = measured.scope AND kept.value = measured.value
        AND kept.hour >= coalesce({FIRST_HOUR}, recent)
    GROUP BY measured.place, measured.start, kept.hour;
    RETURN QUERY
    SELECT measured.place, 'hold', held.expires_at, held.expires_at, held.amount_usd, 0::bigint
    FROM {MEASURED} JOIN billing_authorization AS held ON {OPEN} AND {matches("held")};
END $$
"""

# What each has spent at every instant between two.
INSTANTS = f"""
CREATE FUNCTION billing_instants(
    wanted bigint, scopes text[], "values" text[], starts timestamptz[], ends timestamptz[], fallbacks numeric[],
    first_ids uuid[]
) RETURNS TABLE (place bigint, instant timestamptz, usd numeric)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY
    SELECT measured.place, spent.instant, sum(spent.usd)
    FROM unnest(scopes, "values", starts, ends, fallbacks, first_ids) WITH ORDINALITY
        AS measured (scope, value, "start", "end", fallback, first_id, place)
    CROSS JOIN LATERAL (
        SELECT event.occurred_at AS instant, {COST} AS usd FROM billing_usageevent AS event
        WHERE event.organization_id = wanted AND event.id >= measured.first_id
            AND event.occurred_at >= measured."start" AND event.occurred_at < measured."end" AND {matches("event")}
        UNION ALL
        SELECT event.occurred_at, {TOKENS} * measured.fallback / 1000000 FROM billing_unpricedevent AS waiting
        JOIN billing_usageevent AS event ON event.organization_id = wanted AND event.id = waiting.event_id
        WHERE waiting.organization_id = wanted AND measured.fallback > 0
            AND event.occurred_at >= measured."start" AND event.occurred_at < measured."end" AND {matches("event")}
    ) AS spent GROUP BY measured.place, spent.instant;
END $$
"""

# Reserve, if nothing stands in the way: no limit without room (`bounds`, NULL: none), no limit that has changed since
# the book of the `expected` revision was read, no other use of the idempotency key. All of it happens here, because the
# locks are held meanwhile: how long that takes is how many reservations there can be.
#
# Each statement sees what was committed when it began, so spend and holds are read behind the locks.
RESERVE = """
CREATE FUNCTION billing_reserve(
    wanted bigint, locks bigint[], scopes text[], "values" text[], starts timestamptz[], fallbacks numeric[],
    bounds numeric[], expected bigint, new_id uuid, credential bigint, amount numeric, made_at timestamptz,
    until timestamptz, key text, hash bigint, of_service text, of_model text, of_user text, of_workflow text,
    of_run text, of_session text, of_tags text[]
) RETURNS TABLE (is_granted boolean, revision bigint, spent numeric, edge numeric, held numeric) LANGUAGE plpgsql AS $$
DECLARE
    seen bigint;
    granted boolean := false;
    all_spent numeric[];
    all_edges numeric[];
    all_held numeric[];
BEGIN
    -- A connection's first call makes the plans, which takes its time: before the locks, not behind them.
    PERFORM FROM billing_meter(wanted, '{}', '{}', '{}', '{}', made_at);
    PERFORM pg_advisory_xact_lock(told.key) FROM unnest(locks) AS told (key);
    SELECT array_agg(meter.spent ORDER BY meter.place), array_agg(meter.edge ORDER BY meter.place),
        array_agg(meter.held ORDER BY meter.place)
    INTO all_spent, all_edges, all_held
    FROM billing_meter(wanted, scopes, "values", starts, fallbacks, made_at) AS meter;
    SELECT coalesce(max(book.revision), 0) INTO seen FROM billing_limitbookrevision AS book
    WHERE book.organization_id = wanted;
    IF seen = expected AND NOT EXISTS (
        SELECT FROM unnest(all_spent, all_edges, all_held, bounds) AS meter (spent, edge, held, bound)
        WHERE meter.spent + meter.edge >= meter.bound OR meter.spent + meter.edge + meter.held + amount > meter.bound
    ) THEN
        INSERT INTO billing_authorization (id, organization_id, credential_id, status, amount_usd, created_at,
            expires_at, idempotency_key, payload_hash, service, model, user_ref, workflow_id, run_id, session_id, tags)
        VALUES (new_id, wanted, credential, 'reserved', amount, made_at, until, key, hash, of_service, of_model,
            of_user, of_workflow, of_run, of_session, of_tags)
        ON CONFLICT (organization_id, idempotency_key) WHERE idempotency_key <> '' DO NOTHING;
        granted := FOUND;
    END IF;
    RETURN QUERY
    SELECT granted, seen, meter.spent, meter.edge, meter.held FROM (SELECT 1) AS one
    LEFT JOIN unnest(all_spent, all_edges, all_held) WITH ORDINALITY AS meter (spent, edge, held, place) ON true
    ORDER BY meter.place;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0014_spend_limit_rules")]

    operations = [
        migrations.RunSQL(
            METER,
            "DROP FUNCTION billing_meter(bigint, text[], text[], timestamptz[], numeric[], timestamptz);",
        ),
        migrations.RunSQL(READINGS, "DROP FUNCTION billing_readings;"),
        migrations.RunSQL(INSTANTS, "DROP FUNCTION billing_instants;"),
        migrations.RunSQL(RESERVE, "DROP FUNCTION billing_reserve;"),
    ]
