-- The counts in billing_ledgerstate: how many sessions, executions and generation groups an organization has.
-- Triggers maintain them, so that a list's total needs no count of all rows.
--
-- A key may have two rows, one of them archived. It counts from the first row that is added until the last one has
-- been deleted. (No statement adds both.)

CREATE FUNCTION billing_session_added() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_ledgerstate AS state (organization_id, sessions)
    SELECT organization_id, count(*)
    FROM added
    WHERE NOT EXISTS (
        SELECT
        FROM billing_session AS other
        WHERE other.organization_id = added.organization_id
            AND other.session_id = added.session_id
            AND other.archived <> added.archived
    )
    GROUP BY organization_id
    ON CONFLICT (organization_id) DO UPDATE SET sessions = state.sessions + excluded.sessions;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_session_added
    AFTER INSERT ON billing_session
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing_session_added();

CREATE FUNCTION billing_session_removed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing_ledgerstate AS state
    SET sessions = state.sessions - deleted.keys
    FROM (
        SELECT organization_id, count(DISTINCT session_id) AS keys
        FROM removed
        WHERE NOT EXISTS (
            SELECT
            FROM billing_session AS other
            WHERE other.organization_id = removed.organization_id
                AND other.session_id = removed.session_id
        )
        GROUP BY organization_id
    ) AS deleted
    WHERE state.organization_id = deleted.organization_id;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_session_removed
    AFTER DELETE ON billing_session
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION billing_session_removed();

CREATE FUNCTION billing_execution_added() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_ledgerstate AS state (organization_id, executions)
    SELECT organization_id, count(*)
    FROM added
    WHERE NOT EXISTS (
        SELECT
        FROM billing_execution AS other
        WHERE other.organization_id = added.organization_id
            AND other.execution_id = added.execution_id
            AND other.archived <> added.archived
    )
    GROUP BY organization_id
    ON CONFLICT (organization_id) DO UPDATE SET executions = state.executions + excluded.executions;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_execution_added
    AFTER INSERT ON billing_execution
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing_execution_added();

CREATE FUNCTION billing_execution_removed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing_ledgerstate AS state
    SET executions = state.executions - deleted.keys
    FROM (
        SELECT organization_id, count(DISTINCT execution_id) AS keys
        FROM removed
        WHERE NOT EXISTS (
            SELECT
            FROM billing_execution AS other
            WHERE other.organization_id = removed.organization_id
                AND other.execution_id = removed.execution_id
        )
        GROUP BY organization_id
    ) AS deleted
    WHERE state.organization_id = deleted.organization_id;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_execution_removed
    AFTER DELETE ON billing_execution
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION billing_execution_removed();

CREATE FUNCTION billing_generationgroup_added() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_ledgerstate AS state (organization_id, groups)
    SELECT organization_id, count(*)
    FROM added
    WHERE NOT EXISTS (
        SELECT
        FROM billing_generationgroup AS other
        WHERE other.organization_id = added.organization_id
            AND other.group_id = added.group_id
            AND other.archived <> added.archived
    )
    GROUP BY organization_id
    ON CONFLICT (organization_id) DO UPDATE SET groups = state.groups + excluded.groups;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_generationgroup_added
    AFTER INSERT ON billing_generationgroup
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing_generationgroup_added();

CREATE FUNCTION billing_generationgroup_removed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing_ledgerstate AS state
    SET groups = state.groups - deleted.keys
    FROM (
        SELECT organization_id, count(DISTINCT group_id) AS keys
        FROM removed
        WHERE NOT EXISTS (
            SELECT
            FROM billing_generationgroup AS other
            WHERE other.organization_id = removed.organization_id
                AND other.group_id = removed.group_id
        )
        GROUP BY organization_id
    ) AS deleted
    WHERE state.organization_id = deleted.organization_id;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_generationgroup_removed
    AFTER DELETE ON billing_generationgroup
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION billing_generationgroup_removed();
