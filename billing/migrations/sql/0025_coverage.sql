-- Coverage and counted points are rows of tenants: row-level security hides other organizations'
-- (0002_tenant_policies.sql).

ALTER TABLE billing_coverage ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_coverage_tenant ON billing_coverage TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_metricpoint ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_metricpoint_tenant ON billing_metricpoint TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
