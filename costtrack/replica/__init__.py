"""Reads from a standby of PostgreSQL (docs/replication.md).

`reads` decides for each request, and `last_writes` is where processes share what a caller has written last.
"""
