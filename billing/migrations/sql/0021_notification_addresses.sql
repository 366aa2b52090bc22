-- Addresses are rows of tenants: the organization leads the primary key, and row-level security hides other
-- organizations' (0002_primary_keys.sql, 0002_tenant_policies.sql).

ALTER TABLE billing_notificationaddress
    DROP CONSTRAINT billing_notificationaddress_pkey,
    ADD CONSTRAINT billing_notificationaddress_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_notificationaddress ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_notificationaddress_tenant ON billing_notificationaddress TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
