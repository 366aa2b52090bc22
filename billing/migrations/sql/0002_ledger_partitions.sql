-- The ledger is partitioned by id, and an id begins with the time of its receipt: billing/ledger/partitions.py makes a
-- partition for each month, so that old months can be dropped. Django made a plain table; this one takes its place,
-- with the same columns, defaults and checks.

ALTER TABLE billing_usageevent RENAME TO billing_usageevent_plain;

CREATE TABLE billing_usageevent (
    LIKE billing_usageevent_plain INCLUDING DEFAULTS INCLUDING CONSTRAINTS
) PARTITION BY RANGE (id);

DROP TABLE billing_usageevent_plain;

ALTER TABLE billing_usageevent
    ADD CONSTRAINT billing_usageevent_pkey PRIMARY KEY (organization_id, id);

CREATE INDEX event_by_time
    ON billing_usageevent (organization_id, occurred_at, id);

CREATE INDEX event_of_run
    ON billing_usageevent (organization_id, run_id)
    WHERE run_id <> '';

CREATE INDEX event_of_session
    ON billing_usageevent (organization_id, session_id)
    WHERE session_id <> '';

CREATE INDEX event_of_authorization
    ON billing_usageevent (organization_id, authorization_id)
    WHERE authorization_id IS NOT NULL;

CREATE INDEX event_adjustments
    ON billing_usageevent (organization_id, adjusts)
    WHERE adjusts IS NOT NULL;
