-- Inside a tenant scope, only the keys of its organizations can be read and written (0002_tenant_policies.sql).

ALTER TABLE organizations_idempotencykey ENABLE ROW LEVEL SECURITY;
CREATE POLICY organizations_idempotencykey_tenant ON organizations_idempotencykey TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
