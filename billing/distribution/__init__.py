"""Distribution by organization with Citus (docs/distribution.md): which tables are divided, the SQL, and its checks."""
