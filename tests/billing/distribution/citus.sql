-- What `distribute` calls of Citus, as far as a test on PostgreSQL alone needs it: it records what becomes of each table.

CREATE TABLE trial_tables (table_name regclass PRIMARY KEY, citus_table_type text, colocation_id integer);
CREATE TABLE pg_dist_node (groupid integer, isactive boolean, noderole text);
INSERT INTO pg_dist_node VALUES (0, true, 'primary'), (1, true, 'primary'), (2, true, 'primary');

-- A table with a foreign key to one that Citus knows is on the coordinator, and so is what that table refers to.
CREATE VIEW citus_tables AS
WITH RECURSIVE connected AS (
    SELECT table_name FROM trial_tables WHERE citus_table_type = 'reference'
    UNION
    SELECT CASE connected.table_name WHEN conrelid THEN confrelid::regclass ELSE conrelid::regclass END
    FROM connected
    JOIN pg_constraint ON contype = 'f' AND connected.table_name IN (conrelid, confrelid)
    WHERE conrelid NOT IN (SELECT table_name FROM trial_tables WHERE citus_table_type = 'distributed')
)
SELECT * FROM trial_tables
UNION ALL
SELECT table_name, 'local', NULL FROM connected WHERE table_name NOT IN (SELECT table_name FROM trial_tables);

CREATE FUNCTION citus_version() RETURNS text LANGUAGE sql AS $$ SELECT 'Citus 13.2.2 on x86_64' $$;
CREATE FUNCTION citus_is_coordinator() RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;

CREATE FUNCTION run_command_on_workers(command text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;

CREATE FUNCTION create_reference_table(name regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    ASSERT NOT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND name IN (conrelid, confrelid)), name;
    INSERT INTO trial_tables VALUES (name, 'reference', 1);
END $$;

CREATE FUNCTION create_distributed_table(name regclass, distribution_column text, colocate_with text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    ASSERT NOT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND name IN (conrelid, confrelid)), name;
    ASSERT NOT EXISTS (
        SELECT FROM pg_policy WHERE polrelid = name AND pg_get_expr(polqual, polrelid) ILIKE '%select%'
    ), name;
    ASSERT NOT EXISTS (SELECT FROM pg_partition_tree(name) WHERE level > 1), name;
    INSERT INTO trial_tables
    SELECT name, 'distributed', coalesce(max(colocation_id), 2)
    FROM trial_tables
    WHERE colocate_with <> 'none' AND table_name = colocate_with::regclass;
END $$;
