-- Subscriptions to reports are rows of tenants: the organization leads the primary key, and row-level security hides
-- other organizations'. Memberships are a table of users, which knows nothing of reports: the database deletes what
-- belongs to one.

ALTER TABLE billing_reportsubscription
    DROP CONSTRAINT billing_reportsubscription_pkey,
    ADD CONSTRAINT billing_reportsubscription_pkey PRIMARY KEY (organization_id, id),
    ADD CONSTRAINT billing_reportsubscription_membership FOREIGN KEY (membership_id)
    REFERENCES organizations_membership (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_reportsubscription ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_reportsubscription_tenant ON billing_reportsubscription TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
GRANT SELECT, INSERT, UPDATE, DELETE ON billing_reportsubscription TO costtrack_tenant;
