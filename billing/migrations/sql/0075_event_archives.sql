-- The manifest of archived events has rows of tenants: the organization leads the primary key, and row-level security
-- hides other organizations' (0002_primary_keys.sql, 0002_tenant_policies.sql). Rows are written outside of tenant
-- scopes.

ALTER TABLE billing_eventarchive
    DROP CONSTRAINT billing_eventarchive_pkey,
    ADD CONSTRAINT billing_eventarchive_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_eventarchive ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_eventarchive_tenant ON billing_eventarchive TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

GRANT SELECT ON billing_eventarchive TO costtrack_tenant;
