-- The ledger can only be added to. Old months are dropped as whole partitions, which no trigger sees.

CREATE FUNCTION costtrack_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The ledger is append-only: % on % is refused.', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER usageevent_append_only
    BEFORE UPDATE OR DELETE ON billing_usageevent
    FOR EACH STATEMENT EXECUTE FUNCTION costtrack_refuse_change();
