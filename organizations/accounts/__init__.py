"""Signing in with django-allauth.

Users are identified by `User.email`, and there is no sign-up. allauth provides the flows (passwords, second factors,
single sign-on) and stores second factors in its own tables; its other tables stay empty.
"""
