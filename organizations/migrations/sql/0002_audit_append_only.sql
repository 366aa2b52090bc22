-- The audit log can only be added to.

CREATE FUNCTION costtrack_refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only: % is refused.', TG_OP;
END $$;

CREATE TRIGGER auditentry_append_only
    BEFORE UPDATE OR DELETE ON organizations_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION costtrack_refuse_audit_change();
