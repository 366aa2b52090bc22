-- The organization leads the primary key of every table of tenants, so that rows of one organization are found together
-- and a foreign key can contain it (0002_foreign_keys.sql). Ids are unique anyway, so Django's primary key is the id
-- alone (organizations/tenant_models.py).

ALTER TABLE billing_authorization
    DROP CONSTRAINT billing_authorization_pkey,
    ADD CONSTRAINT billing_authorization_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_delivery
    DROP CONSTRAINT billing_delivery_pkey,
    ADD CONSTRAINT billing_delivery_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_increaserequest
    DROP CONSTRAINT billing_increaserequest_pkey,
    ADD CONSTRAINT billing_increaserequest_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_ingestbatch
    DROP CONSTRAINT billing_ingestbatch_pkey,
    ADD CONSTRAINT billing_ingestbatch_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_limitoverride
    DROP CONSTRAINT billing_limitoverride_pkey,
    ADD CONSTRAINT billing_limitoverride_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_notice
    DROP CONSTRAINT billing_notice_pkey,
    ADD CONSTRAINT billing_notice_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_notificationpreference
    DROP CONSTRAINT billing_notificationpreference_pkey,
    ADD CONSTRAINT billing_notificationpreference_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_quarantinedrecord
    DROP CONSTRAINT billing_quarantinedrecord_pkey,
    ADD CONSTRAINT billing_quarantinedrecord_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_repricing
    DROP CONSTRAINT billing_repricing_pkey,
    ADD CONSTRAINT billing_repricing_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_run
    DROP CONSTRAINT billing_run_pkey,
    ADD CONSTRAINT billing_run_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_spendlimit
    DROP CONSTRAINT billing_spendlimit_pkey,
    ADD CONSTRAINT billing_spendlimit_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_thresholdevent
    DROP CONSTRAINT billing_thresholdevent_pkey,
    ADD CONSTRAINT billing_thresholdevent_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_unpricedevent
    DROP CONSTRAINT billing_unpricedevent_pkey,
    ADD CONSTRAINT billing_unpricedevent_pkey PRIMARY KEY (organization_id, event_id);

ALTER TABLE billing_webhookendpoint
    DROP CONSTRAINT billing_webhookendpoint_pkey,
    ADD CONSTRAINT billing_webhookendpoint_pkey PRIMARY KEY (organization_id, id);
