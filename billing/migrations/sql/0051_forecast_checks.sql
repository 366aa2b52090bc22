-- Checks of forecasts are rows of tenants: row-level security hides other organizations' (0002_tenant_policies.sql).
-- Code in a tenant scope only reads them: a nightly task writes them.

ALTER TABLE billing_forecastcheck ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_forecastcheck_tenant ON billing_forecastcheck TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

GRANT SELECT ON billing_forecastcheck TO costtrack_tenant;
