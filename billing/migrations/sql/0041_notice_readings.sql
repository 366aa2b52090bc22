-- Rows of tenants: the organization leads the primary key, and row-level security hides other organizations'. Memberships
-- are a table of users, which knows nothing of notices: the database deletes what belongs to one.

ALTER TABLE billing_noticereading
    DROP CONSTRAINT billing_noticereading_pkey,
    ADD CONSTRAINT billing_noticereading_pkey PRIMARY KEY (organization_id, id),
    ADD CONSTRAINT billing_noticereading_membership FOREIGN KEY (membership_id)
    REFERENCES organizations_membership (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE billing_noticereading ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_noticereading_tenant ON billing_noticereading TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
GRANT SELECT, INSERT, UPDATE ON billing_noticereading TO costtrack_tenant;
