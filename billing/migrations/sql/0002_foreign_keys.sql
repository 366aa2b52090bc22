-- Foreign keys between tables of tenants contain the organization, so a row can only refer to one of its own
-- organization. Django makes foreign keys of one column; these belong to each TenantForeignKey.

ALTER TABLE billing_delivery
    ADD CONSTRAINT billing_delivery_notice FOREIGN KEY (organization_id, notice_id)
    REFERENCES billing_notice (organization_id, id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_delivery
    ADD CONSTRAINT billing_delivery_webhook FOREIGN KEY (organization_id, webhook_id)
    REFERENCES billing_webhookendpoint (organization_id, id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_increaserequest
    ADD CONSTRAINT billing_increaserequest_granted FOREIGN KEY (organization_id, granted_id)
    REFERENCES billing_limitoverride (organization_id, id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_increaserequest
    ADD CONSTRAINT billing_increaserequest_limit FOREIGN KEY (organization_id, limit_id)
    REFERENCES billing_spendlimit (organization_id, id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_limitoverride
    ADD CONSTRAINT billing_limitoverride_limit FOREIGN KEY (organization_id, limit_id)
    REFERENCES billing_spendlimit (organization_id, id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_thresholdevent
    ADD CONSTRAINT billing_thresholdevent_limit FOREIGN KEY (organization_id, limit_id)
    REFERENCES billing_spendlimit (organization_id, id) DEFERRABLE INITIALLY DEFERRED;

-- Memberships are a table of users, which knows nothing of notices: the database deletes what belongs to one.
ALTER TABLE billing_notificationpreference
    ADD CONSTRAINT billing_notificationpreference_membership FOREIGN KEY (membership_id)
    REFERENCES organizations_membership (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
