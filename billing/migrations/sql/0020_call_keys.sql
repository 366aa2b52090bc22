-- The keys of calls are rows of tenants: row-level security hides other organizations' (0002_tenant_policies.sql).

ALTER TABLE billing_callkey ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_callkey_tenant ON billing_callkey TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
