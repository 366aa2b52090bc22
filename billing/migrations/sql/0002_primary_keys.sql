-- The organization leads the primary key of each table that is queried by organization. Ids are unique anyway, so
-- Django's primary key is the id alone (billing/models/ledger.py).

ALTER TABLE billing_authorization
    DROP CONSTRAINT billing_authorization_pkey,
    ADD CONSTRAINT billing_authorization_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_ingestbatch
    DROP CONSTRAINT billing_ingestbatch_pkey,
    ADD CONSTRAINT billing_ingestbatch_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_unpricedevent
    DROP CONSTRAINT billing_unpricedevent_pkey,
    ADD CONSTRAINT billing_unpricedevent_pkey PRIMARY KEY (organization_id, event_id);
