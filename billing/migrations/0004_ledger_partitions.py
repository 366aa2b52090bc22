"""The ledger becomes a table partitioned by the month of receipt; the keys of its events move into their own table.

What is there is carried over: each month into one partition, as `billing.ledger.partitions` makes them.
"""

from django.db import migrations

# Before events counted themselves, adjustments only ever brought a price, and did not know their credential.
FILL = """
ALTER TABLE billing_usageevent DISABLE TRIGGER usageevent_append_only;
UPDATE billing_usageevent AS row SET
    requests = (kind = 'model_call')::int,
    turns = (kind = 'model_call')::int,
    tool_calls = (kind = 'tool_call')::int,
    unpriced = CASE
        WHEN kind = 'adjustment' THEN -1
        WHEN token_cost_usd IS NULL AND (
            EXISTS (SELECT FROM billing_unpricedevent AS waiting
                    WHERE waiting.organization_id = row.organization_id AND waiting.event_id = row.id)
            OR EXISTS (SELECT FROM billing_usageevent AS later
                       WHERE later.organization_id = row.organization_id AND later.adjusts = row.id)
        ) THEN 1
        ELSE 0
    END;
UPDATE billing_usageevent AS later SET credential_id = event.credential_id
FROM billing_usageevent AS event
WHERE event.organization_id = later.organization_id AND event.id = later.adjusts;
ALTER TABLE billing_usageevent ENABLE TRIGGER usageevent_append_only;
UPDATE billing_ingestbatch SET last_event_id = (left(id::text, 32) || 'ffff')::uuid;
INSERT INTO billing_eventkey (organization_id, key, event_id, payload_hash)
SELECT organization_id, key, id, payload_hash FROM billing_usageevent WHERE key IS NOT NULL;
"""

PARTITION = """
ALTER TABLE billing_usageevent RENAME TO billing_usageevent_plain;
ALTER TABLE billing_usageevent_plain RENAME CONSTRAINT billing_usageevent_pkey TO billing_usageevent_plain_pkey;
ALTER INDEX event_by_time RENAME TO plain_by_time;
ALTER INDEX event_of_run RENAME TO plain_of_run;
ALTER INDEX event_of_session RENAME TO plain_of_session;

CREATE TABLE billing_usageevent (LIKE billing_usageevent_plain INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (id);
ALTER TABLE billing_usageevent ADD CONSTRAINT billing_usageevent_pkey PRIMARY KEY (organization_id, id);
CREATE INDEX event_by_time ON billing_usageevent (organization_id, occurred_at, id);
CREATE INDEX event_of_run ON billing_usageevent (organization_id, run_id) WHERE run_id <> '';
CREATE INDEX event_of_session ON billing_usageevent (organization_id, session_id) WHERE session_id <> '';
CREATE TRIGGER usageevent_append_only BEFORE UPDATE OR DELETE ON billing_usageevent
    FOR EACH STATEMENT EXECUTE FUNCTION costtrack_refuse_change();
ALTER TABLE billing_usageevent ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_usageevent_tenant ON billing_usageevent TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
"""

# An id begins with the instant of its receipt, in milliseconds (48 bits).
MOVE = """
DO $$
DECLARE
    month timestamptz;
    following timestamptz;
    name text;
BEGIN
    FOR month IN SELECT DISTINCT date_trunc('month', received_at, 'UTC') FROM billing_usageevent_plain LOOP
        following := (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
        name := 'billing_usageevent_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF billing_usageevent FOR VALUES FROM (%L) TO (%L)'
            ' PARTITION BY LIST (organization_id)',
            name,
            (lpad(to_hex((extract(epoch FROM month) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid,
            (lpad(to_hex((extract(epoch FROM following) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
        );
        EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', name || '_shared', name);
        EXECUTE format('REVOKE ALL ON %I, %I FROM costtrack_tenant', name, name || '_shared');
    END LOOP;
END $$;
INSERT INTO billing_usageevent SELECT * FROM billing_usageevent_plain;
DROP TABLE billing_usageevent_plain;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_ledger_columns")]

    operations = [
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RemoveConstraint("usageevent", "event_key_once"),
        migrations.RemoveField("usageevent", "key"),
        migrations.RemoveField("usageevent", "payload_hash"),
        migrations.RunSQL(PARTITION),
        migrations.RunSQL(MOVE),
    ]
