-- Credits are rows of tenants: the organization leads the primary key, and row-level security hides other
-- organizations' (0002_primary_keys.sql, 0002_tenant_policies.sql).

ALTER TABLE billing_credit
    DROP CONSTRAINT billing_credit_pkey,
    ADD CONSTRAINT billing_credit_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE billing_credit ENABLE ROW LEVEL SECURITY;
CREATE POLICY billing_credit_tenant ON billing_credit TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
