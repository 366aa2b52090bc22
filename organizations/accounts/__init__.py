"""Signing in: what django-allauth is told about these people and organizations.

People are known by the e-mail address that is theirs in `User`; nobody signs up. allauth brings the flows (passwords,
second factors, single sign-on) and keeps second factors in tables of its own; its other tables stay empty.
"""
