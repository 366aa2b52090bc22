"""The admin of unusual spend."""
