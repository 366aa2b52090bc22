"""Sending email: the configuration of the server, Django backends, and delivery from an outbox."""
