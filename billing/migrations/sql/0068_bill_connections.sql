-- Connections are rows of tenants: the organization leads the primary key, and row-level security hides other
-- organizations' (0002_primary_keys.sql, 0002_tenant_policies.sql).

ALTER TABLE billing_billconnection
    DROP CONSTRAINT billing_billconnection_pkey,
    ADD CONSTRAINT billing_billconnection_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_billconnection ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_billconnection_tenant ON billing_billconnection TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

GRANT SELECT, INSERT, UPDATE, DELETE ON billing_billconnection TO costtrack_tenant;
