-- Exact sums whose state is a single value. PostgreSQL's sum of bigint and of numeric allocates a state of some hundred
-- bytes for each group, so a report by ten thousand users would take three times as long as one by a hundred.
-- Beyond the range of bigint, a count is an error.

CREATE AGGREGATE billing_sum_count(bigint) (
    SFUNC = int8pl, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl, PARALLEL = SAFE
);
CREATE AGGREGATE billing_sum_usd(numeric) (
    SFUNC = numeric_add, STYPE = numeric, COMBINEFUNC = numeric_add, PARALLEL = SAFE
);
