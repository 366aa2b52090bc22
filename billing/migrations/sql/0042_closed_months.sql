-- Closed months and late events are rows of tenants: row-level security hides other organizations'
-- (0002_tenant_policies.sql). Code in a tenant scope only reads them: closing a month and folding write them.

ALTER TABLE billing_closedmonth ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_closedmonth_tenant ON billing_closedmonth TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE billing_lateevent ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_lateevent_tenant ON billing_lateevent TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

GRANT SELECT ON billing_closedmonth, billing_lateevent TO costtrack_tenant;
