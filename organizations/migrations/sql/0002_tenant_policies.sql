-- Row-level security: inside a tenant scope, only the rows of its organizations can be read and written.
-- Rows without an organization (operators' credentials, account emails) are invisible there.

ALTER TABLE organizations_organization ENABLE ROW LEVEL SECURITY;
CREATE POLICY organizations_organization_tenant ON organizations_organization TO costtrack_tenant
    USING (id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE organizations_accountemail ENABLE ROW LEVEL SECURITY;
CREATE POLICY organizations_accountemail_tenant ON organizations_accountemail TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE organizations_apicredential ENABLE ROW LEVEL SECURITY;
CREATE POLICY organizations_apicredential_tenant ON organizations_apicredential TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE organizations_auditentry ENABLE ROW LEVEL SECURITY;
CREATE POLICY organizations_auditentry_tenant ON organizations_auditentry TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));

ALTER TABLE organizations_membership ENABLE ROW LEVEL SECURITY;
CREATE POLICY organizations_membership_tenant ON organizations_membership TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
