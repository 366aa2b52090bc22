"""Archived events: the format of their files, where these are, and how they are read again (docs/archive.md)."""
