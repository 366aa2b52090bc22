-- Teams are rows of tenants: the organization leads the primary key, and row-level security hides other organizations'.

ALTER TABLE organizations_team
    DROP CONSTRAINT organizations_team_pkey,
    ADD CONSTRAINT organizations_team_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE organizations_team ENABLE ROW LEVEL SECURITY;
CREATE POLICY organizations_team_tenant ON organizations_team TO costtrack_tenant
    USING (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]))
    WITH CHECK (organization_id = ANY ((SELECT costtrack_organizations())::bigint[]));
GRANT SELECT, INSERT, UPDATE, DELETE ON organizations_team TO costtrack_tenant;
