"""The statements of `benchmarks.data`, which generate rows of the ledger in the database."""

from benchmarks.load import AGENTS, PER_RUN, PER_SESSION, PROJECTS, USERS, WORKFLOWS

# For this session only: the fill may be lost in a power failure, but measured writes must be durable.
SETTINGS = "SET synchronous_commit = off; SET work_mem = '64MB'"

_TABLE = "CREATE TEMP TABLE IF NOT EXISTS filling (LIKE billing_usageevent INCLUDING DEFAULTS)"
_EMPTY = "TRUNCATE filling"

NUMBERS = {
    "per_run": PER_RUN,
    "per_session": PER_SESSION,
    "agents": AGENTS,
    "projects": PROJECTS,
    "users": USERS,
    "workflows": WORKFLOWS,
}
"""Constant parameters."""

# `number` counts the organization's events; runs and sessions are consecutive events.
_ROWS = """
INSERT INTO filling (
    id, organization_id, credential_id, source, event_id, kind, occurred_at, received_at, duration_ms, status,
    capability, service, model, run_id, workflow_id, session_id, execution_id, phase_id, group_id, group_name, agent_id,
    user_ref, end_user, tags,
    input_tokens, output_tokens, cache_read_tokens, requests, turns, token_cost_usd, cost_source, price_version_id
)
SELECT (left(call.batch_id::text, 32) || lpad(to_hex(call.place), 4, '0'))::uuid, %(organization)s, %(credential)s,
    'api', 'call-' || lpad(to_hex(call.number), 16, '0'), 'model_call', call.occurred_at, call.received_at,
    call.duration_ms, CASE WHEN random() < 0.015 THEN 'failure' ELSE 'success' END, 'chat', model.service, model.model,
    'run-' || left(md5(%(organization)s || '/run/' || call.run), 12), 'workflow-' || call.run %% %(workflows)s,
    'session-' || left(md5(%(organization)s || '/session/' || call.session), 12),
    'execution-' || left(md5(%(organization)s || '/execution/' || call.session / 5), 12), 'phase-' || call.session %% 5,
    CASE WHEN call.session %% 4 = 0 THEN 'group-' || left(md5(%(organization)s || '/' || call.session), 12) ELSE '' END,
    CASE WHEN call.session %% 4 = 0 THEN 'Conversation ' || call.session ELSE '' END,
    'agent-' || call.session * 7919 %% %(agents)s, 'user-' || call.session * 7919 %% %(users)s,
    CASE WHEN call.session %% 4 = 1 THEN 'customer-' || call.session * 7919 %% %(users)s ELSE '' END,
    ARRAY['project:' || call.session * 7919 %% %(projects)s, 'env:production'],
    call.input_tokens, call.output_tokens, call.cache_read_tokens, 1, 1,
    (call.input_tokens * model.input_price + call.output_tokens * model.output_price
        + call.cache_read_tokens * model.cache_price) / 1000000,
    'computed', model.price
FROM (
    SELECT batch.id AS batch_id, batch.received_at, place, number, number / %(per_run)s AS run,
        number / %(per_session)s AS session,
        batch.received_at - %(gap)s * (1 - place::float8 / batch.size)
            - CASE WHEN random() < 0.02 THEN random() * interval '3 days' ELSE interval '0' END AS occurred_at,
        50 + floor(random() * 3950)::bigint AS input_tokens,
        1 + floor(random() * 900)::bigint AS output_tokens,
        floor(random() * 2000)::bigint AS cache_read_tokens,
        100 + floor(random() * 8900) AS duration_ms
    FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[], %(firsts)s::bigint[], %(sizes)s::int[])
            AS batch (id, received_at, first, size),
        generate_series(1, batch.size) AS place, LATERAL (SELECT batch.first + place - 1) AS of (number)
) AS call
JOIN unnest(%(services)s::text[], %(models)s::text[], %(prices)s::bigint[], %(input_prices)s::numeric[],
            %(output_prices)s::numeric[], %(cache_prices)s::numeric[]) WITH ORDINALITY
        AS model (service, model, price, input_price, output_price, cache_price, place)
    ON model.place = CASE WHEN call.number %% 3 = 0 THEN 1 ELSE 2 + call.session * 7919 %% 4 END
ORDER BY 1
"""

_EVENTS = "INSERT INTO billing_usageevent SELECT * FROM filling"
_KEYS = """
INSERT INTO billing_eventkey (organization_id, key, event_id, payload_hash)
SELECT organization_id, gen_random_uuid() AS key, id, (random() * 9e18)::bigint FROM filling ORDER BY key
"""
_RUNS = """
INSERT INTO billing_run (
    organization_id, run_id, parent_run_id, workflow_id, folded_workflow_id, has_moved, created_at
)
SELECT %(organization)s, 'run-' || left(md5(%(organization)s || '/run/' || run), 12),
    CASE WHEN run %% 10 = 0 AND run %% 50 <> 0
        THEN 'run-' || left(md5(%(organization)s || '/run/' || run - 10), 12) ELSE '' END,
    'workflow-' || run %% %(workflows)s, 'workflow-' || run %% %(workflows)s, run %% 10 = 0 AND run %% 50 <> 0,
    min(batch.received_at)
FROM unnest(%(times)s::timestamptz[], %(firsts)s::bigint[], %(sizes)s::int[]) AS batch (received_at, first, size),
    generate_series(batch.first / %(per_run)s, (batch.first + batch.size - 1) / %(per_run)s) AS run
GROUP BY run ORDER BY 2
ON CONFLICT DO NOTHING
"""
_BATCHES = """
INSERT INTO billing_ingestbatch (
    id, organization_id, credential_id, last_event_id, format, received_at,
    accepted, duplicates, conflicts, rejected, unpriced, cost_usd
)
SELECT batch.id, %(organization)s, %(credential)s, batch.last_id, 'json', batch.received_at,
    count(*), 0, 0, 0, 0, sum(event.token_cost_usd)
FROM unnest(%(ids)s::uuid[], %(last_ids)s::uuid[], %(times)s::timestamptz[]) AS batch (id, last_id, received_at)
JOIN filling AS event ON (left(event.id::text, 32) || '0000')::uuid = batch.id
GROUP BY batch.id, batch.last_id, batch.received_at ORDER BY 1
"""

STATEMENTS = (_TABLE, _EMPTY, _ROWS, _EVENTS, _KEYS, _RUNS, _BATCHES)
