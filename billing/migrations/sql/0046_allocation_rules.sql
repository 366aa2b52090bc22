-- Allocation rules are rows of tenants: the organization leads the primary key, and row-level security hides other
-- organizations' (0002_primary_keys.sql, 0002_tenant_policies.sql).

ALTER TABLE billing_allocationrule
    DROP CONSTRAINT billing_allocationrule_pkey,
    ADD CONSTRAINT billing_allocationrule_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_allocationrule ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_allocationrule_tenant ON billing_allocationrule TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

GRANT SELECT, INSERT ON billing_allocationrule TO costtrack_tenant;
