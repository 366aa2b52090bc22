-- The role that code acts as inside a tenant scope (costtrack/tenancy.py), with its rights, and the function that its
-- policies read. Roles belong to the whole server and are in no dump: `manage.py repair_roles` makes them again.

DO $$
BEGIN
    CREATE ROLE costtrack_tenant NOLOGIN;
EXCEPTION
    -- Another database of this server has it already, or is creating it right now.
    WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

DO $$
BEGIN
    EXECUTE format('GRANT costtrack_tenant TO %I', current_user);
EXCEPTION
    -- "tuple concurrently updated": another database granted it at the same moment.
    WHEN internal_error THEN NULL;
END $$;

GRANT USAGE ON SCHEMA public TO costtrack_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO costtrack_tenant;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO costtrack_tenant;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO costtrack_tenant;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO costtrack_tenant;

-- The ids of the organizations that this transaction may see: the setting of its tenant scope, split at the commas.
-- Policies call it in a sub-select, so that the planner evaluates it once for each query instead of once for each row.
CREATE FUNCTION costtrack_organizations() RETURNS bigint[]
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT string_to_array(current_setting('costtrack.organizations', true), ',')::bigint[]
$$;
