-- The security log belongs to no organization: without a policy, nothing of it is visible inside a tenant scope.

ALTER TABLE organizations_securityevent ENABLE ROW LEVEL SECURITY;
